"""What comes back to a sender: bounces as his mail program and Python's email package see them, once, whatever is killed."""
import email
import email.policy
import os
import random
import signal
import smtplib
import time

from harness import Server, expect, wait_for

BIG, LARGE = "x" * 70 + "\r\n", 15000


def make_server():
    server = Server(accounts=("alice", "bob", "carol"))
    server.cli("config", "set", "message_size_max", "1MB", "--account", "bob@example.test")  # more is refused when it is to be delivered
    return server


def inbox(server, name):
    """All messages of the inbox, parsed."""
    box = server.imap(name)
    box.select("INBOX")
    found = []
    for number in box.search(None, "ALL")[1][0].split():
        raw = box.fetch(number, "(BODY.PEEK[])")[1][0][1]
        found.append(email.message_from_bytes(raw, policy=email.policy.default))
    box.logout()
    return found


def reports(server, name, subject):
    return [m for m in inbox(server, name) if m.get_content_type() == "multipart/report" and subject in str(m["Subject"])]


def send(server, subject, to=("bob@example.test",), lines=LARGE, mail_options=(), rcpt_options=(), sender="alice"):
    s = server.submission(sender)
    text = f"From: {sender}@example.test\r\nTo: bob@example.test\r\nSubject: {subject}\r\nMessage-ID: <{subject.replace(' ', '.')}@example.test>\r\n\r\n"
    s.sendmail(f"{sender}@example.test", list(to), (text + BIG * lines).encode(), mail_options, rcpt_options)
    s.quit()


def try_to_send(server, subject):
    """False: told to try again. A message whose answer is lost may have been taken: then it would come twice, so that counts as sent."""
    try:
        send(server, subject)
        return True
    except smtplib.SMTPDataError as e:
        expect(e.smtp_code == 451, e)
        return False


def one_report(server, subject, name="alice"):
    found = wait_for(lambda: reports(server, name, subject), 30, f"a report on {subject!r}")
    expect(len(found) == 1, f"{len(found)} reports on {subject!r}")
    return found[0]


def fields(report):
    """The blocks of message/delivery-status."""
    return list(report.iter_parts())[1].get_payload()


def test_what_senders_are_told(server):
    """Everything is sent first, since a report takes some seconds, then looked at one by one."""
    server.cli("account", "add", "dave@example.test", "--password-stdin", stdin="fourth person here\n")
    server.cli("config", "set", "message_size_max", "1MB", "--account", "dave@example.test")
    server.cli("account", "describe", "carol@example.test", "--lang", "fr")
    s = server.smtp()
    s.sendmail("alice@example.test", ["bob@example.test"], ("From: alice@example.test\r\nSubject: forged\r\n\r\n" + BIG * LARGE).encode())
    s.quit()
    send(server, "too much")
    send(server, "trop gros", sender="carol")
    send(server, "both", to=("bob@example.test", "dave@example.test"))
    send(server, "asked", to=("carol@example.test",), lines=1, mail_options=("ENVID=QQ314159",),
         rcpt_options=("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Carol@example.test"))
    send(server, "silent", to=("carol@example.test",), lines=1)
    send(server, "quiet", rcpt_options=("NOTIFY=NEVER",))
    for subject in ("too much", "both", "asked"):
        one_report(server, subject)
    one_report(server, "trop gros", "carol")
    time.sleep(3)  # for what would be too much


def test_a_refused_message_comes_back(server):
    report = one_report(server, "too much")
    expect(report.get_param("report-type") == "delivery-status", report["Content-Type"])
    expect(report["Subject"] == "Not delivered: too much", report["Subject"])
    expect(report["From"].addresses[0].addr_spec == "postmaster@example.test", report["From"])
    expect(report["To"].addresses[0].addr_spec == "alice@example.test", report["To"])
    expect(report["Return-Path"].strip() == "<>", report["Return-Path"])
    expect(report["Auto-Submitted"] == "auto-replied", report["Auto-Submitted"])
    expect(report["In-Reply-To"] == "<too.much@example.test>", report["In-Reply-To"])
    text, status, original = report.iter_parts()
    words = " ".join(text.get_content().split())
    expect(words.startswith("Your message to bob@example.test was not delivered, and nothing more will be tried."), words)
    expect("Why: The message is larger than example.test takes." in words and "What to do: Put the large files on" in words, words)
    message, recipient = fields(report)
    expect(message["Reporting-MTA"].startswith("dns; "), message.as_string())
    expect(recipient["Final-Recipient"] == "rfc822; bob@example.test", recipient.as_string())
    expect(recipient["Action"] == "failed" and recipient["Status"] == "5.3.4", recipient.as_string())
    expect(original.get_content_type() == "text/rfc822-headers" and "Subject: too much" in original.get_content(), original.as_string())
    expect(not report.defects and not any(p.defects for p in report.walk()), "Python finds mistakes in it")


def test_it_speaks_the_language_of_the_account(server):
    report = one_report(server, "trop gros", "carol")
    expect(report["Subject"] == "Non remis : trop gros", report["Subject"])
    words = " ".join(next(report.iter_parts()).get_content().split())
    expect(words.startswith("Votre message à bob@example.test n'a pas été remis"), words)
    expect("Pourquoi : Le message dépasse la taille qu'accepte example.test." in words, words)


def test_recipients_that_fail_together_are_told_together(server):
    report = one_report(server, "both")
    expect(sorted(r["Final-Recipient"] for r in fields(report)[1:]) == ["rfc822; bob@example.test", "rfc822; dave@example.test"],
           report.as_string())


def test_dsn_parameters_are_honoured(server):
    report = one_report(server, "asked")
    expect(report["Subject"] == "Delivered: asked", report["Subject"])
    message, recipient = fields(report)
    expect(message["Original-Envelope-Id"] == "QQ314159", message.as_string())
    expect(recipient["Action"] == "delivered" and recipient["Original-Recipient"] == "rfc822; Carol@example.test", recipient.as_string())
    expect("INBOX" not in report.as_string(), "the sender is told which mailbox it lies in: " + report.as_string())
    expect(not reports(server, "alice", "quiet") and not reports(server, "alice", "silent"), "told without being asked")


def test_nobody_is_told_who_may_not_have_sent_it(server):
    expect(not reports(server, "alice", "forged"), "back-scatter")
    kept = server.cli_json("queue", "list")
    expect(len(kept) == 1 and kept[0]["held"], kept)  # the forged one, for the administrator; what was told is gone


def test_once_whatever_is_killed(server):
    subjects = [f"killed {i}" for i in range(6)]
    for part in (subjects[:3], subjects[3:]):
        for subject in part:
            wait_for(lambda: try_to_send(server, subject), 30, "queue takes mail again")
        time.sleep(random.random() * 4)  # refused, told, in the log, in the mailbox: anywhere
        for pid in server.pids_of("queue"):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(reports(server, "alice", "killed")) >= len(subjects), 60, "all reports")
    time.sleep(2)
    found = sorted(str(m["Subject"]) for m in reports(server, "alice", "killed"))
    expect(found == sorted(f"Not delivered: {s}" for s in subjects), found)
