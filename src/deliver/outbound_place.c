/* Room for connections: how many there are to one address and in all, who waits for it, and which connection may carry a message that it
 * was not made for.
 *
 * A place is an address with what is open to it and who waits there. Large hosters have one address for thousands of domains: a
 * connection that was kept for one of them would stand in the way of all the others, so it either carries the message of the next one, or
 * goes when somebody waits. It carries it where nobody could tell the difference: the same host by name and address, from the same
 * address of ours, and what the new message's domain asks of TLS (DANE, MTA-STS) was shown when the connection was made.
 *
 * Nobody is woken in the middle of something: a place that has room again looks in a task of the loop, and wakes as many as find room. */
#include "deliver/outbound_private.h"
#include "base/clock.h"

enum { KEY_SIZE = sizeof(((struct outbound_place *)0)->key), PROOF_HOLDS_MS = 5 * 60 * 1000 };

/* ---- places ---- */

static void look(void *context);

static void put_key(const struct peer *address, uint16_t port, char key[KEY_SIZE])
{
	memcpy(key, address->address, sizeof(address->address));
	key[KEY_SIZE - 2] = (char)(port >> 8);
	key[KEY_SIZE - 1] = (char)port;
}

/* NULL: nothing is open to it. */
static struct outbound_place *find_place(const struct outbound *r, const struct peer *address, uint16_t port)
{
	char key[KEY_SIZE];

	put_key(address, port, key);
	return map_get(&r->places, str_make(key, KEY_SIZE));
}

static struct outbound_place *place_of(struct outbound *r, const struct peer *address, uint16_t port)
{
	struct outbound_place *p = find_place(r, address, port);

	if (p)
		return p;
	p = MEM_NEW(struct outbound_place);
	*p = (struct outbound_place){ .outbound = r, .look = { .run = look, .context = p }, .waiting = { .end = &p->waiting.first } };
	put_key(address, port, p->key);
	map_set(&r->places, str_make(p->key, KEY_SIZE), p);
	return p;
}

static void forget_if_empty(struct outbound_place *p)
{
	if (p->connections || p->waiting.first)
		return;
	loop_defer_cancel(p->outbound->loop, &p->look);
	map_set(&p->outbound->places, str_make(p->key, KEY_SIZE), NULL);
	mem_free(p);
}

void place_enter(struct outbound_connection *c)
{
	struct outbound_place *p = place_of(c->outbound, &c->address, c->port);

	c->place = p;
	c->place_next = p->connections;
	c->place_link = &p->connections;
	if (p->connections)
		p->connections->place_link = &c->place_next;
	p->connections = c;
	p->count++;
	c->outbound->connection_count++;
}

static void look_soon(struct outbound_place *p)
{
	struct outbound *r = p->outbound;

	if (p->waiting.first)
		loop_defer(r->loop, &p->look);
	if (r->waiting.first)
		loop_defer(r->loop, &r->look);
}

void place_leave(struct outbound_connection *c)
{
	struct outbound_place *p = c->place;

	*c->place_link = c->place_next;
	if (c->place_next)
		c->place_next->place_link = c->place_link;
	p->count--;
	c->outbound->connection_count--;
	look_soon(p);
	forget_if_empty(p);
}

/* ---- who waits ---- */

static void wait_in(struct outbound_line *line, struct outbound_place *p, struct outbound_job *j)
{
	j->place = p;
	j->wait_next = NULL;
	j->wait_link = line->end;
	*line->end = j;
	line->end = &j->wait_next;
}

void job_wait_no_more(struct outbound_job *j)
{
	struct outbound_place *p = j->place;
	struct outbound_line *line = p ? &p->waiting : &j->outbound->waiting;

	if (j->wait_link == NULL)
		return;
	if (line->end == &j->wait_next)
		line->end = j->wait_link;
	*j->wait_link = j->wait_next;
	if (j->wait_next)
		j->wait_next->wait_link = j->wait_link;
	j->wait_link = NULL;
	j->place = NULL;
	if (p)
		forget_if_empty(p);
}

static bool is_full(const struct outbound *r) { return r->connection_count >= r->settings.connections_max; }

/* A connection that nobody needs now makes room for who has none. False: there is none. */
static bool send_away(struct outbound *r, struct outbound_connection *c)
{
	if (c->state != CONNECTION_FREE || c->gives_way)
		return false;
	c->gives_way = true;
	loop_timer_in(r->loop, &c->timer, 0);
	return true;
}

bool place_wait(struct outbound_job *j, const struct peer *address)
{
	struct outbound *r = j->outbound;
	struct outbound_place *p = find_place(r, address, j->way.port);

	if (p && p->count >= r->settings.per_address_max) {
		for (struct outbound_connection *c = p->connections; c && !send_away(r, c); c = c->place_next)
			;
		wait_in(&p->waiting, p, j);
		return true;
	}
	if (!is_full(r))
		return false;
	for (struct outbound_connection *c = r->connections; c && !send_away(r, c); c = c->next)
		;
	wait_in(&r->waiting, NULL, j);
	return true;
}

/* As many as find room; whoever is woken takes it, goes elsewhere, or is answered. */
static void look(void *context)
{
	struct outbound_place *p = context;
	struct outbound *r = p->outbound;
	char key[KEY_SIZE];

	memcpy(key, p->key, KEY_SIZE);
	while ((p = map_get(&r->places, str_make(key, KEY_SIZE))) != NULL && p->waiting.first && p->count < r->settings.per_address_max) {
		struct outbound_job *j = p->waiting.first;
		job_wait_no_more(j);
		job_next_target(j);
	}
}

void outbound_look(void *context)
{
	struct outbound *r = context;

	for (struct outbound_job *j; (j = r->waiting.first) != NULL && !is_full(r);) {
		job_wait_no_more(j);
		job_next_target(j);
	}
}

/* ---- a connection for another message ---- */

static bool is_same_source(const struct outbound_connection *c, const struct outbound_way *way)
{
	return memcmp(c->source.address, way_source(way, &c->address)->address, sizeof(c->source.address)) == 0;
}

/* With DANE-TA the names to look for are those of the domain as well (RFC 7672 §3.2.3); with DANE-EE only the key counts. */
static bool is_by_key_only(const struct mx_host *host)
{
	for (size_t i = 0; i < host->tlsa_count; i++)
		if (host->tlsa[i].usage != 3)
			return false;
	return true;
}

/* Has the connection shown what the domain of this message asks for? */
static bool is_proof_enough(const struct outbound_connection *c, const struct outbound_job *j, const struct mx_host *host)
{
	if (host->dane == MX_DANE_VERIFY)
		return c->is_proven && c->expect.trust == TLS_TRUST_DANE && is_by_key_only(host);
	if (job_has_policy(j, host))
		return c->is_proven && c->expect.trust == TLS_TRUST_AUTHORITIES;
	return host->dane == MX_DANE_NONE || c->tls_words.n > 0;
}

static bool is_fresh(const struct outbound_connection *c) { return clock_mono_ms() - c->opened_ms < PROOF_HOLDS_MS; }

/* What asks for proof finds its way anew, and so does everybody after a while: a policy may have come. */
static bool may_use(const struct outbound_connection *c, const struct outbound_job *j)
{
	return !job_is_late(j) && !j->wants_new && !job_requires_tls(j) && is_fresh(c);
}

/* One that was made for a message whose sender insists on nothing has not looked whether the destination does. */
static bool is_for(const struct outbound_connection *c, const struct outbound_job *j)
{
	return str_eq(c->destination, j->way.name) && (c->is_proven || j->is_allowed == NULL) && (!c->is_relaxed || job_is_relaxed(j)) && may_use(c, j);
}

/* For a target of its route. */
static bool may_share(const struct outbound_connection *c, const struct outbound_job *j, const struct mx_host *host)
{
	return c->is_shareable && j->way.host.n == 0 && !j->in_clear && may_use(c, j) && str_eq(c->host_name, host->name) &&
	       is_same_source(c, &j->way) && is_proof_enough(c, j, host);
}

static bool is_free(const struct outbound_connection *c) { return c->state == CONNECTION_FREE && !c->gives_way; }

struct outbound_connection *connection_find(const struct outbound_job *j)
{
	for (struct outbound_connection *c = j->outbound->connections; c; c = c->next)
		if (is_free(c) && is_for(c, j))
			return c;
	return NULL;
}

struct outbound_connection *connection_find_at(const struct outbound_job *j, const struct mx_host *host, const struct peer *address)
{
	struct outbound_place *p = find_place(j->outbound, address, j->way.port);

	for (struct outbound_connection *c = p ? p->connections : NULL; c; c = c->place_next)
		if (is_free(c) && may_share(c, j, host))
			return c;
	return NULL;
}

static bool may_carry(const struct outbound_connection *c, const struct outbound_job *j)
{
	return is_for(c, j) || (j->place == c->place && may_share(c, j, &j->route->hosts[j->route->targets[j->target].host]));
}

void connection_pass_on(struct outbound_connection *c)
{
	struct outbound *r = c->outbound;
	struct outbound_job *here = c->place->waiting.first, *j = here ? here : r->waiting.first;

	if (j == NULL) {
		connection_release(c);
	} else if (connection_is_good(c) && may_carry(c, j)) {
		if (here)
			j->target++;
		job_wait_no_more(j);
		connection_use(c, j);
	} else {
		connection_leave(c);  /* whoever is first has the room */
	}
}
