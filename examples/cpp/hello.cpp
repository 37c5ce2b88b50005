/* hello: publishes and consumes in C++17, and ends by itself.
 * SPDX-License-Identifier: MIT
 *
 *   c++ -std=c++17 hello.cpp -lmoonrabbit -o hello && ./hello [URL] */
#include <iostream>
#include <moonrabbit.hpp>

enum : std::uint64_t { CONNECT = 1, CHANNEL, SETUP, STOP }; /* tokens: one for each request */

static void run(const char *url)
{
	mr::runtime rt;
	mr::connection conn(rt, mr::options().set("url", url).set("heartbeat", 30));
	mr::channel ch;
	bool is_over = false;
	conn.open(CONNECT);
	while (!is_over) {
		auto ev = rt.poll(10);
		if (!ev) throw mr::error(MR_TIMEOUT);
		if (ev->is_done(CONNECT)) {
			ch = conn.open_channel(CHANNEL);
		} else if (ev->is_done(CHANNEL)) {
			ch.setup(SETUP, {mr::request::queue_declare("hello-cpp", MR_AUTO_DELETE)
							.with(mr::table().add("x-max-length", 100)),
						mr::request::qos(10),
						mr::request::consume("hello-cpp", 1)});
		} else if (ev->is_done(SETUP)) {
			ch.publish("", "hello-cpp", "Hello!");
		} else if (mr::delivery d = ev->take_delivery()) {
			std::cout << d.text() << '\n';
			d.ack();
			rt.stop(STOP, 5);
		} else {
			is_over = ev->is_done(STOP);
		}
	}
}

int main(int argc, char **argv)
{
	try {
		run(argc > 1 ? argv[1] : "memory://");
	} catch (const mr::error &e) {
		std::cerr << e.name() << ": " << e.what() << '\n' << e.hint() << '\n';
		return 1;
	}
}
