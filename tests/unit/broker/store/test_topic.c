/* test_topic: the tree of patterns against a matcher that anybody can check by reading.
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include "broker/store/topic.h"

enum { PATTERNS = 3000, KEYS = 3000, KEY_ROOM = 64 };

static uint64_t seed = 20260101;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void make_words(char out[KEY_ROOM], uint32_t choices)
{
	static const char *const words[] = {"a", "b", "", "cc", "d", "*", "#", "#"};
	size_t at = 0;
	out[0] = '\0';
	for (uint32_t i = 0, n = random_below(6); i < n; i++)
		at += (size_t)snprintf(out + at, KEY_ROOM - at, "%s%s", i ? "." : "",
			words[random_below(choices)]);
}

/* Splits into words; an empty text has none. */
static int split(const char *text, const char *words[16], size_t sizes[16])
{
	int n = 0;
	for (const char *at = text; *text; at += sizes[n++] + 1) {
		words[n] = at;
		sizes[n] = strcspn(at, ".");
		if (!at[sizes[n]]) return n + 1;
	}
	return n;
}

struct words {
	const char *at[16];
	size_t sizes[16];
	int count;
};

static bool is(const struct words *w, int i, const char *text)
{
	return w->sizes[i] == strlen(text) && memcmp(w->at[i], text, w->sizes[i]) == 0;
}

static bool fits(const struct words *p, int i, const struct words *k, int j)
{
	if (i == p->count) return j == k->count;
	if (is(p, i, "#")) return fits(p, i + 1, k, j) || (j < k->count && fits(p, i, k, j + 1));
	if (j == k->count) return false;
	bool same = is(p, i, "*") ||
	            (p->sizes[i] == k->sizes[j] && memcmp(p->at[i], k->at[j], p->sizes[i]) == 0);
	return same && fits(p, i + 1, k, j + 1);
}

static bool naive(const char *pattern, const char *key)
{
	struct words p, k;
	p.count = split(pattern, p.at, p.sizes);
	k.count = split(key, k.at, k.sizes);
	return fits(&p, 0, &k, 0);
}

/* Patterns as they are in the tree, each once. */
struct forest {
	char patterns[PATTERNS][KEY_ROOM];
	struct mr_leaf *leaves[PATTERNS];
	int met[PATTERNS];
	int count;
	struct mr_topic_node *root;
};

static struct forest forest;

static void on_leaf(void *owner, struct mr_leaf *leaf)
{
	struct forest *f = owner;
	f->met[leaf->count]++; /* the test's own use of it: the pattern's number */
}

static void plant(struct forest *f, int count)
{
	memset(f, 0, sizeof *f);
	while (f->count < count) {
		char *pattern = f->patterns[f->count];
		make_words(pattern, 8);
		struct mr_leaf *known = mr_topic_find(f->root, mr_slice_str(pattern));
		struct mr_leaf *leaf = mr_topic_add(&f->root, mr_slice_str(pattern));
		assert_non_null(leaf);
		assert_true(!known || known == leaf);
		if (known) continue;
		leaf->count = (size_t)f->count;
		f->leaves[f->count++] = leaf;
	}
}

static void compare(struct forest *f, int keys)
{
	for (int k = 0; k < keys; k++) {
		char key[KEY_ROOM];
		make_words(key, k % 10 ? 5 : 8); /* sometimes with words that look like wildcards */
		memset(f->met, 0, sizeof f->met);
		assert_true(!f->root || mr_topic_match(f->root, mr_slice_str(key), on_leaf, f));
		for (int i = 0; i < f->count; i++) {
			int expected = f->leaves[i] && naive(f->patterns[i], key);
			if (f->met[i] != expected)
				fail_msg("\"%s\" and \"%s\": %d, not %d", f->patterns[i], key,
					f->met[i], expected);
		}
	}
}

static void cut(struct forest *f, int i)
{
	if (!f->leaves[i]) return;
	assert_ptr_equal(mr_topic_find(f->root, mr_slice_str(f->patterns[i])), f->leaves[i]);
	mr_topic_remove(&f->root, mr_slice_str(f->patterns[i]));
	f->leaves[i] = NULL;
	assert_null(mr_topic_find(f->root, mr_slice_str(f->patterns[i])));
}

static void test_patterns_match_as_a_simple_matcher_says(void **state)
{
	(void)state;
	plant(&forest, 2000);
	compare(&forest, KEYS);
	mr_topic_free(forest.root);
}

static void test_removed_patterns_match_no_more_and_leave_no_memory(void **state)
{
	long before = mr_alloc_live();
	(void)state;
	plant(&forest, 1000);
	for (int i = 0; i < forest.count; i += 2) cut(&forest, i);
	compare(&forest, 500);
	for (int i = 0; i < 400; i++) cut(&forest, (int)random_below(1000));
	compare(&forest, 500);
	for (int i = 0; i < forest.count; i++) cut(&forest, i);
	assert_null(forest.root);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_a_whole_tree_is_freed_at_once(void **state)
{
	long before = mr_alloc_live();
	(void)state;
	plant(&forest, 1000);
	mr_topic_free(forest.root);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_no_allocation_that_fails_breaks_the_tree(void **state)
{
	long before = mr_alloc_live();
	(void)state;
	for (long n = 1; n < 40; n++) {
		struct mr_topic_node *root = NULL;
		mr_alloc_fail_nth(n);
		struct mr_leaf *one = mr_topic_add(&root, mr_slice_str("a.*.b.#"));
		struct mr_leaf *two = mr_topic_add(&root, mr_slice_str("a.*.c.d.e"));
		mr_alloc_fail_nth(0);
		assert_ptr_equal(mr_topic_find(root, mr_slice_str("a.*.b.#")), one);
		assert_ptr_equal(mr_topic_find(root, mr_slice_str("a.*.c.d.e")), two);
		if (one) mr_topic_remove(&root, mr_slice_str("a.*.b.#"));
		if (two) mr_topic_remove(&root, mr_slice_str("a.*.c.d.e"));
		assert_null(root); /* a half-made pattern leaves nothing */
		assert_int_equal(mr_alloc_live(), before);
	}
}

static void count_leaf(void *owner, struct mr_leaf *leaf)
{
	(void)leaf;
	++*(int *)owner;
}

static void test_many_hashes_in_a_row_match_each_pattern_once(void **state)
{
	char pattern[256], key[256];
	struct mr_topic_node *root = NULL;
	int met = 0;
	(void)state;
	for (int i = 0; i < 255; i++) {
		pattern[i] = i % 2 ? '.' : '#';
		key[i] = i % 2 ? '.' : 'a';
	}
	pattern[255] = key[255] = '\0';
	assert_non_null(mr_topic_add(&root, mr_slice_str(pattern)));
	assert_true(mr_topic_match(root, mr_slice_str(key), count_leaf, &met));
	assert_int_equal(met, 1);
	memset(key, '.', 255);
	assert_true(mr_topic_match(root, mr_slice_str(key), count_leaf, &met));
	assert_true(mr_topic_match(root, mr_slice_str(""), count_leaf, &met));
	assert_int_equal(met, 3);
	mr_topic_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns_match_as_a_simple_matcher_says),
		cmocka_unit_test(test_removed_patterns_match_no_more_and_leave_no_memory),
		cmocka_unit_test(test_a_whole_tree_is_freed_at_once),
		cmocka_unit_test(test_no_allocation_that_fails_breaks_the_tree),
		cmocka_unit_test(test_many_hashes_in_a_row_match_each_pattern_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
