/* lines: queues of numbers, one queue for each key; each number is in at most two queues ("lines").
 * SPDX-License-Identifier: MIT
 * A line is a linked list of the places of its numbers, with a second list of the numbers that were passed by. Places
 * are counted from 1; 0 is none. */
#include "amqp/lines.h"

#include <string.h>

#include "base/alloc.h"

struct mr_line_place {
	uint64_t keys[2];
	uint32_t next[2];
	bool is_linked[2];
	bool is_there; /* true if it has not left */
};

struct list {
	uint32_t head, tail;
};

struct mr_line {
	uint64_t key; /* 0: a free slot */
	struct list ahead, passed;
};

void mr_lines_fini(struct mr_lines *l)
{
	mr_free(l->places);
	mr_free(l->table);
	*l = (struct mr_lines){0};
}

void mr_lines_reset(struct mr_lines *l, uint64_t base)
{
	bool is_large = l->size > 64 && l->size > 16 * l->used; /* from busier times */
	if (is_large || l->capacity > 64 + 16 * (l->end - l->base)) mr_lines_fini(l);
	if (l->used) memset(l->table, 0, l->size * sizeof *l->table);
	l->used = 0;
	l->base = l->end = base;
}

/* ---- the table ---- */

static struct mr_line *slot(const struct mr_lines *l, uint64_t key)
{
	uint64_t mixed = (key ^ key >> 32) * 0x9E3779B97F4A7C15u;
	size_t at = (size_t)(mixed >> 32);
	while (l->table[at & (l->size - 1)].key && l->table[at & (l->size - 1)].key != key) at++;
	return &l->table[at & (l->size - 1)];
}

static struct mr_line *find(const struct mr_lines *l, uint64_t key)
{
	struct mr_line *line = l->size && key ? slot(l, key) : NULL;
	return line && line->key ? line : NULL;
}

/* Room for two more lines. */
static enum mr_status grow_table(struct mr_lines *l)
{
	if ((l->used + 2) * 2 <= l->size) return MR_OK;
	struct mr_lines larger = {.size = l->size ? l->size * 2 : 32};
	larger.table = mr_calloc(larger.size, sizeof *larger.table);
	if (!larger.table) return MR_NO_MEMORY;
	for (size_t i = 0; i < l->size; i++)
		if (l->table[i].key) *slot(&larger, l->table[i].key) = l->table[i];
	mr_free(l->table);
	l->table = larger.table;
	l->size = larger.size;
	return MR_OK;
}

static enum mr_status grow_places(struct mr_lines *l)
{
	if (l->end - l->base < l->capacity) return MR_OK;
	size_t capacity = l->capacity ? l->capacity * 2 : 32;
	struct mr_line_place *places = mr_realloc(l->places, capacity * sizeof *places);
	if (!places) return MR_NO_MEMORY;
	l->places = places;
	l->capacity = capacity;
	return MR_OK;
}

/* ---- lists ---- */

static struct mr_line_place *place(const struct mr_lines *l, uint32_t index)
{
	return &l->places[index - 1];
}

static int side(const struct mr_line_place *p, uint64_t key) { return p->keys[0] == key ? 0 : 1; }

static void append(struct mr_lines *l, uint64_t key, struct list *list, uint32_t index)
{
	struct mr_line_place *p = place(l, index), *last = list->tail ? place(l, list->tail) : NULL;
	p->next[side(p, key)] = 0;
	if (last)
		last->next[side(last, key)] = index;
	else
		list->head = index;
	list->tail = index;
}

static uint32_t take_head(struct mr_lines *l, uint64_t key, struct list *list)
{
	uint32_t index = list->head;
	struct mr_line_place *p = place(l, index);
	list->head = p->next[side(p, key)];
	if (!list->head) list->tail = 0;
	return index;
}

/* Removes numbers that have left from the front. */
static uint32_t first_there(struct mr_lines *l, uint64_t key, struct list *list)
{
	while (list->head) {
		struct mr_line_place *p = place(l, list->head);
		if (p->is_there) return list->head;
		p->is_linked[side(p, key)] = false;
		take_head(l, key, list);
	}
	return 0;
}

static void rejoin(struct mr_lines *l, uint32_t index, int which)
{
	struct mr_line_place *p = place(l, index);
	struct mr_line *line = find(l, p->keys[which]);
	if (!line || p->is_linked[which]) return;
	p->next[which] = line->passed.head;
	line->passed.head = index;
	if (!line->passed.tail) line->passed.tail = index;
	p->is_linked[which] = true;
}

/* ---- numbers ---- */

static struct mr_line_place *place_of(const struct mr_lines *l, uint64_t number)
{
	bool is_known = number >= l->base && number < l->end;
	return is_known ? &l->places[number - l->base] : NULL;
}

enum mr_status mr_lines_add(struct mr_lines *l, uint64_t key, uint64_t other)
{
	if (grow_places(l) != MR_OK || grow_table(l) != MR_OK) return MR_NO_MEMORY;
	struct mr_line_place *p = &l->places[l->end - l->base];
	*p = (struct mr_line_place){.keys = {key, other == key ? 0 : other}, .is_there = true};
	l->end++;
	for (int i = 0; i < 2; i++) {
		if (!p->keys[i]) continue;
		struct mr_line *line = slot(l, p->keys[i]);
		l->used += !line->key;
		line->key = p->keys[i];
		append(l, line->key, &line->ahead, (uint32_t)(l->end - l->base));
		p->is_linked[i] = true;
	}
	return MR_OK;
}

void mr_lines_leave(struct mr_lines *l, uint64_t number)
{
	struct mr_line_place *p = place_of(l, number);
	if (p) p->is_there = false;
}

void mr_lines_join(struct mr_lines *l, uint64_t number)
{
	struct mr_line_place *p = place_of(l, number);
	if (!p || p->is_there) return;
	p->is_there = true;
	for (int i = 0; i < 2; i++)
		if (p->keys[i]) rejoin(l, (uint32_t)(number - l->base + 1), i);
}

uint64_t mr_lines_first(struct mr_lines *l, uint64_t key, uint64_t above)
{
	struct mr_line *line = find(l, key);
	if (!line) return 0;
	uint32_t at = first_there(l, key, &line->ahead);
	while (at && l->base + at - 1 <= above) {
		append(l, key, &line->passed, take_head(l, key, &line->ahead));
		at = first_there(l, key, &line->ahead);
	}
	if (!at) at = first_there(l, key, &line->passed);
	return at ? l->base + at - 1 : 0;
}

uint64_t mr_lines_next(const struct mr_lines *l, uint64_t key, uint64_t number)
{
	const struct mr_line_place *p = place_of(l, number);
	uint32_t at = p ? p->next[side(p, key)] : 0;
	while (at && !place(l, at)->is_there) at = place(l, at)->next[side(place(l, at), key)];
	return at ? l->base + at - 1 : 0;
}
