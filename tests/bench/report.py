"""What came out of the benchmark: a table for a terminal, one for docs/performance.md, and a picture."""
import html
import statistics

OURS = "facteur"


def number(x):
    """Three digits that matter."""
    if x == 0:
        return "0"
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 0.1 else f"{x:.3f}"


def median(values):
    return statistics.median(values)


def ratio(row, peer):
    """How many times better facteur is; below 1: worse. None when one of them was not measured."""
    ours, theirs = row["values"].get(OURS), row["values"].get(peer)
    if not ours or not theirs:
        return None
    a, b = median(ours), median(theirs)
    if a <= 0 or b <= 0:
        return None
    return a / b if row["more"] else b / a


def ratio_range(row, peer):
    """The worst and the best ratio of a round to the one measured beside it."""
    pairs = [(a / b if row["more"] else b / a) for a, b in zip(row["values"][OURS], row["values"][peer]) if a > 0 and b > 0]
    return (min(pairs), max(pairs)) if pairs else None


def verdict(row):
    """None without a budget, else whether it is met."""
    ours = row["values"].get(OURS)
    return None if row["budget"] is None or not ours else median(ours) <= row["budget"]


def span(values):
    return f"{number(min(values))}-{number(max(values))}" if len(values) > 1 else ""


def peers_of(results):
    return [p for p in results["contestants"] if p != OURS]


def short(peer):
    return peer.replace("postfix + dovecot, ", "")


def processors(results):
    """How the processors were: figures of the two kinds are not to be compared."""
    return "kept from idling" if results.get("awake") else "left to idle"


PACES = (("round_trip_us", "a round trip"), ("page_us", "a page written"), ("body_us", "28 kB"))


def paces(results):
    """What the machine took for work of a fixed size, beside the rounds (pace.c); nothing for a run that is older than this."""
    said = [f"{what} {number(median(v))} µs{span(v) and f' ({span(v)})'}" for key, what in PACES for v in [[p[key] for p in results.get("pace", [])]] if v]
    return f" Pace: {', '.join(said)}." if said else ""


def table(results, colour):
    def paint(text, code):
        return f"\033[{code}m{text}\033[0m" if colour else text

    peers = peers_of(results)
    width = max([len(r["what"]) for r in results["rows"]] + [20])
    head = f"{'':{width}} {'facteur':>9} {'range':>17} {'budget':>8}"
    print(paint(head + "".join(f" {short(p):>9} {'ratio':>14}" for p in peers), 1))
    part = None
    for r in results["rows"]:
        if r["part"] != part:
            part = r["part"]
            print(paint(f"-- {part}", 36))
        ours = r["values"].get(OURS, [])
        met = verdict(r)
        budget = "" if r["budget"] is None else f"{number(r['budget'])} {'ok' if met else 'OVER'}"
        line = f"{r['what']:{width}} {number(median(ours)) if ours else '-':>9} {span(ours):>17} "
        line += paint(f"{budget:>8}", 32 if met else 31) if budget else f"{'':>8}"
        for p in peers:
            theirs, x = r["values"].get(p), ratio(r, p)
            text = "" if x is None else f"{number(x)} x better" if x >= 1 else f"{number(1 / x)} x WORSE"
            line += f" {number(median(theirs)) if theirs else '-':>9} " + (paint(f"{text:>14}", 32 if x >= 1 else 31) if text else f"{'':>14}")
        print(f"{line} {r['unit']}")
    for note in results["notes"]:
        print(paint(f"! {note}", 33))
    print(f"Medians of {results['rounds']} rounds, {' and '.join(results['contestants'])} in turn. CPU: {results['cpu']}. "
          f"Processors: {processors(results)}. A ratio is how many times better facteur is.{paces(results)}")


def markdown(results):
    """The table of docs/performance.md: ratios, and our own figure beside its budget."""
    peers = peers_of(results)
    print(f"| what | facteur | budget | {' | '.join('to ' + short(p) for p in peers)} |")
    print("|---|---|---|" + "---|" * len(peers))
    for r in results["rows"]:
        ours = r["values"].get(OURS)
        if not ours:
            continue
        met = verdict(r)
        budget = "" if r["budget"] is None else f"{number(r['budget'])}, {'met' if met else '**not met**'}"
        cells = []
        for p in peers:
            x = ratio(r, p)
            low, high = (ratio_range(r, p) or (None, None)) if x is not None else (None, None)
            many = f" ({number(low)}-{number(high)})" if low is not None and len(ours) > 1 else ""
            cells.append("" if x is None else f"{number(x)} ×{many}" if x >= 1 else f"**slower: {number(x)} ×**{many}")
        print(f"| {r['what']} | {number(median(ours))} {r['unit']} | {budget} | {' | '.join(cells)} |")
    print(f"\nMedians of {results['rounds']} rounds; processors: {processors(results)}.{paces(results)}")


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .quiet { fill: #59636e } .head { font-weight: 600; font-size: 15px }
.ground { fill: #ffffff } .line { stroke: #d1d9e0 } .one { stroke: #59636e; stroke-width: 1.5 }
.p0 { fill: #0969da } .p1 { fill: #1a7f37 } .p2 { fill: #8250df } .worse { fill: #cf222e } .range { stroke: #59636e; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .quiet { fill: #9198a1 } .ground { fill: #0d1117 } .line { stroke: #3d444d }
.one { stroke: #9198a1 } .p0 { fill: #4493f8 } .p1 { fill: #3fb950 } .p2 { fill: #ab7df8 } .worse { fill: #f85149 } .range { stroke: #9198a1 } }
"""


def svg(results):
    """Bars of ratios on a logarithmic scale: right of the line at 1, facteur needs less or does more."""
    import math
    peers = peers_of(results)
    rows = [r for r in results["rows"] if any(ratio(r, p) is not None for p in peers)]
    left, wide, step = 470, 480, 10 * len(peers) + 6
    all_ratios = [x for r in rows for p in peers for x in [ratio(r, p)] if x is not None]
    low = min(-1, math.floor(math.log10(min(all_ratios)))) if all_ratios else -1
    high = min(3, max(2, math.ceil(math.log10(max(all_ratios))))) if all_ratios else 2  # a bar that is longer ends at the edge

    def at(x):
        return left + wide * (min(max(math.log10(x), low), high) - low) / (high - low)

    tall = 84 + step * len(rows) + 18
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 70} {tall}" role="img" aria-label="facteur beside Postfix and '
           f'Dovecot, ratios">', f"<style>{STYLE}</style>", f'<rect class="ground" width="100%" height="100%"/>',
           '<text class="head" x="16" y="26">facteur beside Postfix and Dovecot: how many times better</text>',
           f'<text class="quiet" x="16" y="44">medians of {results["rounds"]} alternating rounds on one machine, {results["date"][:10]}; '
           f'processors {processors(results)}; logarithmic; red: facteur is worse</text>']
    for i, p in enumerate(peers):
        out.append(f'<rect class="p{i}" x="{left + wide - 230 + 120 * i}" y="17" width="10" height="10"/>'
                   f'<text x="{left + wide - 215 + 120 * i}" y="26">to {html.escape(short(p))}</text>')
    for k in range(low, high + 1):
        x = at(10 ** k)
        out.append(f'<line class="{"one" if k == 0 else "line"}" x1="{x:.1f}" x2="{x:.1f}" y1="72" y2="{tall - 12}"/>'
                   f'<text class="quiet" x="{x:.1f}" y="66" text-anchor="middle">{10 ** k if k >= 0 else f"1/{10 ** -k}"}</text>')
    for n, r in enumerate(rows):
        y = 80 + step * n
        out.append(f'<text x="{left - 10}" y="{y + step / 2:.0f}" text-anchor="end">{html.escape(r["what"])}</text>')
        for i, p in enumerate(peers):
            x = ratio(r, p)
            if x is None:
                continue
            a, b = sorted((at(1), at(x)))
            top = y + 10 * i
            out.append(f'<rect class="{"worse" if x < 1 else f"p{i}"}" x="{a:.1f}" y="{top}" width="{max(b - a, 1):.1f}" height="9" rx="1"/>')
            side = max(b, at(1)) + 4
            out.append(f'<text class="quiet" x="{side:.1f}" y="{top + 8}" style="font-size:9px">{number(x)} ×</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
