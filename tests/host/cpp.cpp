/* cpp: a host in C++17: moonrabbit.hpp, and that the other headers compile as C++.
 * SPDX-License-Identifier: MIT */
#include <moonrabbit.hpp>

#include <moonrabbit_testing.h>
#if __has_include(<ev.h>)
#include <moonrabbit_ev.h>
#endif
#if __has_include(<uv.h>)
#include <moonrabbit_uv.h>
#endif
#if __has_include(<glib.h>)
#include <moonrabbit_glib.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (condition) break;                                                              \
		std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);       \
		std::exit(1);                                                                      \
	} while (0)

template <class T> constexpr bool only_moves()
{
	return std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
	       !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
}
static_assert(only_moves<mr::runtime>() && only_moves<mr::options>() && only_moves<mr::table>());
static_assert(only_moves<mr::connection>() && only_moves<mr::channel>() && only_moves<mr::pool>());
static_assert(only_moves<mr::event>() && only_moves<mr::delivery>() && only_moves<mr::loan>());
static_assert(sizeof(mr::connection) == sizeof(void *) && sizeof(mr::channel) == sizeof(void *));
static_assert(sizeof(mr::options) == sizeof(void *) && sizeof(mr::pool) == sizeof(void *));
static_assert(sizeof(mr::delivery) == 2 * sizeof(void *));
static_assert(sizeof(mr::event) == sizeof(mr_event) + sizeof(void *));

/* The kind of the error that fn throws; MR_OK: none. */
template <class F> static int kind_of(F fn)
{
	try {
		fn();
	} catch (const mr::error &e) {
		CHECK(*e.what() && *e.name());
		return e.kind();
	}
	return MR_OK;
}

/* Takes events until this request has ended; throws what it failed with. */
static mr::event wait_for(mr::runtime &rt, std::uint64_t token)
{
	for (;;) {
		auto ev = rt.poll(20);
		if (!ev) throw mr::error(MR_TIMEOUT);
		if (ev->is_done(token)) return std::move(*ev);
	}
}

static mr::delivery next_delivery(mr::runtime &rt)
{
	for (;;) {
		auto ev = rt.poll(20);
		if (!ev) throw mr::error(MR_TIMEOUT);
		if (mr::delivery d = ev->take_delivery()) return d;
	}
}

static void views()
{
	mr::byte_view v("abc"), none;
	CHECK(v.size() == 3 && v[1] == std::byte('b') && v.str() == "abc" && !v.empty());
	CHECK(v.subspan(1, 2).str() == "bc" && v.first(1).str() == "a");
	CHECK(none.empty() && none.begin() == none.end() && none.data());
	const std::byte raw[] = {std::byte(0), std::byte(255)};
	int sum = 0;
	for (std::byte b : mr::byte_view(raw, 2)) sum += std::to_integer<int>(b);
	CHECK(sum == 255);
	CHECK(mr::byte_view(std::string("a\0b", 3)).size() == 3);
}

static void wrong_options()
{
	CHECK(kind_of([] { mr::options().set("no_such", 1); }) == MR_BAD_OPTION);
	CHECK(kind_of([] { mr::options().set("heartbeat", "often"); }) == MR_BAD_OPTION);
	mr::options o;
	o.set("heartbeat", 30).set("recover", false).set("url", "memory://cpp");
	CHECK(kind_of([&] { o.set("heartbeat", true); }) == MR_BAD_OPTION);
	mr::options other = std::move(o);
	CHECK(other.get() && !o.get());
}

static void consume(mr::runtime &rt, mr::channel &ch)
{
	ch.setup(3,
		{mr::request::exchange_declare("cpp", "direct", MR_AUTO_DELETE),
			mr::request::queue_declare("cpp").with(
				mr::table()
					.add("x-max-length", 1000)
					.add("x-overflow", "drop-head")),
			mr::request::queue_bind("cpp", "cpp", "key"), mr::request::confirm_select(),
			mr::request::consume("cpp", 9).within(10)});
	mr::event done = wait_for(rt, 3);
	CHECK(done.reply() && done.reply()->message_count == 5);
	CHECK(ch.publish("cpp", "key", std::string("one\0two", 7)) == 1);
	mr::delivery d = next_delivery(rt);
	CHECK(d.body().size() == 7 && d.text().substr(4) == "two" && d.consumer() == 9);
	CHECK(d.exchange() == "cpp" && d.routing_key() == "key" && !d.is_redelivered());
	mr::delivery e = std::move(d);
	CHECK(!d && e);
	CHECK(e.nack(true) == MR_OK && !e);
	d = next_delivery(rt);
	CHECK(d.is_redelivered() && d.ack() == MR_OK);
}

/* Nothing that an exception leaves behind stays with the host. */
static void leave_by_exception(mr::runtime &rt, mr::channel &ch)
{
	int calls = 0;
	for (int i = 0; i < 10; i++) ch.publish("cpp", "key", "x");
	while (rt.stats().in_flight < 10) CHECK(rt.stats().in_flight <= 10);
	try {
		for (;;)
			rt.poll_each<16>(20, [&](mr::event &ev) {
				if (ev.type() == MR_EV_DELIVERY && ++calls == 2) throw 7;
			});
	} catch (int seven) {
		CHECK(seven == 7 && calls == 2);
	}
	while (rt.stats().in_flight != 0)
		rt.poll_each(0.01, [](mr::event &) {}); /* not taken: the event releases it */
}

static void failures(mr::runtime &rt, mr::connection &conn)
{
	mr::channel ch = conn.open_channel(20);
	CHECK(kind_of([&] { ch.ask(21, mr::request::get("q")); }) == MR_CLOSED);
	wait_for(rt, 20);
	ch.setup(22, {mr::request::queue_declare("cpp-2", MR_AUTO_DELETE),
			     mr::request::queue_bind("cpp-2", "none such", "")});
	std::string why;
	try {
		wait_for(rt, 22);
	} catch (const mr::error &e) {
		CHECK(e.kind() == MR_NOT_FOUND && e.cause().code == 404 && *e.hint());
		why = e.what();
	}
	CHECK(why.rfind("request 1 (queue.bind): ", 0) == 0);
	CHECK(!ch.is_open());
	std::uint64_t number;
	CHECK(ch.try_publish("", "q", "x", {}, 0, 0, &number) == MR_CLOSED);
	ch = conn.open_channel(23);
	wait_for(rt, 23);
	ch.ask(24, mr::request::queue_declare("cpp-3", MR_EXCLUSIVE));
	wait_for(rt, 24);
	ch.publish("", "cpp-3", "got");
	ch.ask(25, mr::request::get("cpp-3"));
	mr::event got = wait_for(rt, 25);
	CHECK(got.take_delivery().text() == "got" && !got.take_delivery());
}

static void pools(mr::runtime &rt)
{
	mr::pool pool(rt, mr::options().set("url", "memory://cpp"), MR_POOLED, 1);
	mr::loan first = pool.acquire(30, MR_POOL_PUBLISH, 0);
	CHECK(first.is_lent() && pool.count().active == 1);
	CHECK(kind_of([&] { pool.acquire(31, MR_POOL_PUBLISH, 0); }) == MR_POOL_EXHAUSTED);
	first.connection().open(32);
	wait_for(rt, 32);
	CHECK(first.connection().state() == MR_CONNECTION_OPEN && !first.channel());
	mr::loan second = std::move(first);
	CHECK(!first.is_lent() && second.is_lent());
	second.reset();
	CHECK(pool.count().active == 0 && pool.count().idle == 1);
}

static void all()
{
	mr::runtime rt;
	mr::connection conn(rt, mr::options().set("url", "memory://cpp"));
	rt.log(-1);
	mr::options wrong;
	wrong.set("url", "amqp://[::1");
	CHECK(kind_of([&] { mr::connection(rt, wrong); }) == MR_BAD_URI);
	conn.open(1);
	wait_for(rt, 1);
	mr::channel ch = conn.open_channel(2);
	wait_for(rt, 2);
	consume(rt, ch);
	leave_by_exception(rt, ch);
	failures(rt, conn);
	pools(rt);
	mr::runtime moved = std::move(rt);
	CHECK(!rt.get() && moved.fd() >= 0);
	moved.stop(40, 10);
	wait_for(moved, 40);
	CHECK(conn.state() == MR_CONNECTION_CLOSED && kind_of([&] { ch.close(41); }) == MR_CLOSED);
	rt = std::move(moved);
}

int main()
{
	views();
	wrong_options();
	int kind = kind_of(all);
	CHECK(kind == MR_OK);
	return 0;
}
