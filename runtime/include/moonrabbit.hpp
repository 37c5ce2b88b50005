/* moonrabbit.hpp: moonrabbit.h for C++17: owners that free what they own, views, exceptions. Header only.
 * SPDX-License-Identifier: MIT
 *
 *	#include <moonrabbit.hpp>
 *
 *	mr::runtime rt;                                        // declared first, so it ends last
 *	mr::connection conn(rt, mr::options().set("url", "memory://"));
 *	mr::channel ch;
 *	conn.open(1);
 *	while (auto ev = rt.poll(10))                          // a complete program: examples/cpp/hello.cpp
 *		if (ev->is_done(1)) ch = conn.open_channel(2);
 *		else if (mr::delivery d = ev->take_delivery()) use(d.body()), d.ack();
 *
 * Names, tokens, threads and forks are those of moonrabbit.h, whose functions take what get() returns.
 *
 * Errors: a call that fails throws mr::error. Two can fail in the normal course of things, and return
 * a status as well: channel_view::try_publish (back-pressure), delivery::settle (a lost channel). What a
 * request leads to is no exception but an event: ev->status(), ev->error(). Destructors throw nothing.
 *
 * Owners can be moved and not copied; each is as large as its pointer (event and delivery: plus that of
 * the runtime). End them in reverse order of making, as C++ does by itself: channels before their
 * connection, all before the runtime. A *_view owns nothing. */
#ifndef MOONRABBIT_HPP
#define MOONRABBIT_HPP

#include <cstddef>
#include <exception>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <moonrabbit.h>

namespace mr
{

/* ---- errors ------------------------------------------------------------------------------- */

class error : public std::exception
{
      public:
	explicit error(const mr_error &cause) noexcept : cause_(cause) {}
	explicit error(int status) noexcept : cause_()
	{
		cause_.kind = status;
		cause_.recoverable = mr_status_recoverable(status);
		std::string_view text = mr_status_text(status);
		text.copy(cause_.text, sizeof cause_.text - 1);
	}
	const char *what() const noexcept override { return cause_.text; }
	int kind() const noexcept { return cause_.kind; } /* enum mr_status */
	const char *name() const noexcept { return mr_status_name(cause_.kind); }
	const char *hint() const noexcept { return mr_error_hint(&cause_); }
	const mr_error &cause() const noexcept { return cause_; }

      private:
	mr_error cause_;
};

inline void check(int status)
{
	if (status != MR_OK) throw error(status);
}

inline void check(int status, const mr_error &cause)
{
	if (status != MR_OK) throw error(cause);
}

/* ---- views -------------------------------------------------------------------------------- */

/* Bytes that somebody else owns: std::span<const std::byte> for C++17, and text where that is wanted. */
class byte_view
{
      public:
	using value_type = std::byte;
	constexpr byte_view() noexcept = default;
	constexpr byte_view(const char *data, std::size_t size) noexcept : data_(data), size_(size)
	{
	}
	byte_view(const std::byte *data, std::size_t size) noexcept
	    : data_(reinterpret_cast<const char *>(data)), size_(size)
	{
	}
	constexpr byte_view(std::string_view s) noexcept : data_(s.data()), size_(s.size()) {}
	byte_view(const std::string &s) noexcept : data_(s.data()), size_(s.size()) {}
	constexpr byte_view(const char *s) noexcept : byte_view(std::string_view(s)) {}
	constexpr byte_view(mr_bytes b) noexcept : data_(b.data), size_(b.size) {}

	const std::byte *data() const noexcept
	{
		return reinterpret_cast<const std::byte *>(data_);
	}
	constexpr const char *chars() const noexcept { return data_; }
	constexpr std::size_t size() const noexcept { return size_; }
	constexpr bool empty() const noexcept { return size_ == 0; }
	const std::byte *begin() const noexcept { return data(); }
	const std::byte *end() const noexcept { return data() + size_; }
	std::byte operator[](std::size_t i) const noexcept { return data()[i]; }
	/* As of std::span: `offset` and `count` must lie within. */
	constexpr byte_view subspan(std::size_t offset, std::size_t count) const noexcept
	{
		return byte_view(data_ + offset, count);
	}
	constexpr byte_view first(std::size_t count) const noexcept { return subspan(0, count); }
	constexpr std::string_view str() const noexcept { return {data_, size_}; }
	constexpr operator mr_bytes() const noexcept { return mr_bytes{data_, size_}; }

      private:
	const char *data_ = "";
	std::size_t size_ = 0;
};

/* ---- owners ------------------------------------------------------------------------------- */

namespace detail
{
template <class T, void (*Free)(T *)> class owner
{
      public:
	owner() noexcept = default;
	explicit owner(T *p) noexcept : p_(p) {}
	owner(owner &&o) noexcept : p_(o.release()) {}
	owner &operator=(owner &&o) noexcept
	{
		reset(o.release());
		return *this;
	}
	~owner() { Free(p_); }
	T *get() const noexcept { return p_; }
	T *release() noexcept { return std::exchange(p_, nullptr); }
	void reset(T *p = nullptr) noexcept { Free(std::exchange(p_, p)); }
	explicit operator bool() const noexcept { return p_ != nullptr; }

      private:
	T *p_ = nullptr;
};
} // namespace detail

/* A field table, for arguments and headers. */
class table
{
      public:
	table() : t_(mr_table_new())
	{
		if (!t_) throw error(MR_NO_MEMORY);
	}
	explicit table(mr_table *t) noexcept : t_(t) {}
	table &&add(std::string_view key, std::string_view text) &&
	{
		mr_value v = value('S');
		v.as.bytes = byte_view(text);
		return std::move(*this).add(key, v);
	}
	table &&add(std::string_view key, const char *text) &&
	{
		return std::move(*this).add(key, std::string_view(text));
	}
	template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
	table &&add(std::string_view key, T x) &&
	{
		mr_value v = value(std::is_same_v<T, bool>       ? 't'
				   : std::is_floating_point_v<T> ? 'd'
								 : 'l');
		if constexpr (std::is_same_v<T, bool>)
			v.as.boolean = x;
		else if constexpr (std::is_floating_point_v<T>)
			v.as.real = static_cast<double>(x);
		else
			v.as.integer = static_cast<std::int64_t>(x);
		return std::move(*this).add(key, v);
	}
	table &&add(std::string_view key, const mr_value &v) &&
	{
		check(mr_table_add(t_.get(), key.data(), key.size(), &v));
		return std::move(*this);
	}
	template <class V> table &add(std::string_view key, V &&v) &
	{
		std::move(*this).add(key, std::forward<V>(v));
		return *this;
	}
	mr_table *get() const noexcept { return t_.get(); }
	mr_table *release() noexcept { return t_.release(); }

      private:
	static mr_value value(char type) noexcept
	{
		mr_value v = mr_value();
		v.type = static_cast<std::uint8_t>(type);
		return v;
	}
	detail::owner<mr_table, mr_table_free> t_;
};

class options
{
      public:
	options() : o_(mr_options_new())
	{
		if (!o_) throw error(MR_NO_MEMORY);
	}
	options &&set(const char *name, std::string_view v) &&
	{
		mr_error e = mr_error();
		check(mr_options_string(get(), name, v.data(), v.size(), &e), e);
		return std::move(*this);
	}
	options &&set(const char *name, const char *v) &&
	{
		return std::move(*this).set(name, std::string_view(v));
	}
	template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
	options &&set(const char *name, T v) &&
	{
		mr_error e = mr_error();
		if constexpr (std::is_same_v<T, bool>)
			check(mr_options_boolean(get(), name, v, &e), e);
		else
			check(mr_options_number(get(), name, static_cast<double>(v), &e), e);
		return std::move(*this);
	}
	options &&set(const char *name, table &&v) &&
	{
		mr_error e = mr_error();
		int st = mr_options_table(get(), name, v.get(), &e);
		if (st == MR_OK) v.release();
		check(st, e);
		return std::move(*this);
	}
	template <class V> options &set(const char *name, V &&v) &
	{
		std::move(*this).set(name, std::forward<V>(v));
		return *this;
	}
	mr_options *get() const noexcept { return o_.get(); }
	mr_options *release() noexcept { return o_.release(); }

      private:
	detail::owner<mr_options, mr_options_free> o_;
};

/* ---- deliveries, events -------------------------------------------------------------------- */

/* A received message. Its end releases it; without a settle before, the broker keeps it for this host. */
class delivery
{
      public:
	delivery() noexcept = default;
	delivery(mr_runtime *rt, mr_delivery *d) noexcept : rt_(rt), d_(d) {}
	delivery(delivery &&o) noexcept : rt_(o.rt_), d_(o.release()) {}
	delivery &operator=(delivery &&o) noexcept
	{
		reset();
		rt_ = o.rt_;
		d_ = o.release();
		return *this;
	}
	~delivery() { reset(); }
	explicit operator bool() const noexcept { return d_ != nullptr; }
	byte_view body() const noexcept
	{
		return {d_->body, static_cast<std::size_t>(d_->body_size)};
	}
	std::string_view text() const noexcept { return body().str(); }
	std::string_view exchange() const noexcept { return {d_->exchange, d_->exchange_size}; }
	std::string_view routing_key() const noexcept
	{
		return {d_->routing_key, d_->routing_key_size};
	}
	std::uint32_t consumer() const noexcept { return d_->consumer; }
	bool is_redelivered() const noexcept { return d_->flags & MR_DELIVERY_REDELIVERED; }
	/* Settles and releases; MR_STALE: the broker has taken it back. `how`: MR_ACK, MR_NACK, MR_REJECT. */
	int settle(int how, int flags = 0) noexcept
	{
		return mr_delivery_settle(rt_, release(), how, flags | MR_SETTLE_RELEASE);
	}
	int ack() noexcept { return settle(MR_ACK); }
	int nack(bool requeue) noexcept { return settle(MR_NACK, requeue ? MR_SETTLE_REQUEUE : 0); }
	int reject(bool requeue) noexcept
	{
		return settle(MR_REJECT, requeue ? MR_SETTLE_REQUEUE : 0);
	}
	mr_delivery *get() const noexcept { return d_; }
	mr_delivery *release() noexcept
	{
		return std::exchange(d_, nullptr);
	} /* it is the caller's */
	void reset() noexcept
	{
		if (d_) mr_delivery_release(rt_, release());
	}

      private:
	mr_runtime *rt_ = nullptr;
	mr_delivery *d_ = nullptr;
};

/* An event; its end frees it, with the delivery in it if that was not taken. */
class event
{
      public:
	event() noexcept : ev_() {}
	event(mr_runtime *rt, const mr_event &ev) noexcept : rt_(rt), ev_(ev) {}
	event(event &&o) noexcept : rt_(o.rt_), ev_(std::exchange(o.ev_, mr_event())) {}
	event &operator=(event &&o) noexcept
	{
		end();
		rt_ = o.rt_;
		ev_ = std::exchange(o.ev_, mr_event());
		return *this;
	}
	~event() { end(); }
	mr_event_type type() const noexcept { return static_cast<mr_event_type>(ev_.type); }
	int status() const noexcept { return ev_.status; }
	/* Of a request that ended: its token, 0 for other events. */
	std::uint64_t done() const noexcept
	{
		return ev_.type == MR_EV_DONE ? ev_.as.done.token : 0;
	}
	/* True if this request succeeded; throws if it failed. */
	bool is_done(std::uint64_t token) const
	{
		if (done() != token || !token) return false;
		if (ev_.status != MR_OK) throw error();
		return true;
	}
	/* What went wrong. */
	mr::error error() const noexcept
	{
		const mr_reply *r = ev_.type == MR_EV_DONE ? ev_.as.done.reply : nullptr;
		return r && r->error.kind ? mr::error(r->error) : mr::error(ev_.status);
	}
	const mr_reply *reply() const noexcept
	{
		return ev_.type == MR_EV_DONE ? ev_.as.done.reply : nullptr;
	}
	/* The message of a delivery, a return or a get; empty for other events, and when it was taken. */
	delivery take_delivery() noexcept
	{
		mr_delivery **at = place();
		return at ? delivery(rt_, std::exchange(*at, nullptr)) : delivery();
	}
	const mr_event &get() const noexcept { return ev_; }

      private:
	mr_delivery **place() noexcept
	{
		if (ev_.type == MR_EV_DELIVERY) return &ev_.as.delivery;
		if (ev_.type == MR_EV_RETURN) return &ev_.as.returned.delivery;
		if (ev_.type == MR_EV_DONE && ev_.as.done.reply)
			return &ev_.as.done.reply->delivery;
		return nullptr;
	}
	void end() noexcept
	{
		take_delivery();
		mr_event_fini(&ev_);
	}
	mr_runtime *rt_ = nullptr;
	mr_event ev_;
};

/* ---- runtime ------------------------------------------------------------------------------ */

class runtime
{
      public:
	/* `farewell`: seconds that the destructor waits for connections that are still open. */
	explicit runtime(double farewell = 5) : farewell_(farewell) { check(mr_runtime_new(&rt_)); }
	runtime(runtime &&o) noexcept : rt_(std::exchange(o.rt_, nullptr)), farewell_(o.farewell_)
	{
	}
	runtime &operator=(runtime &&o) noexcept
	{
		if (this == &o) return *this;
		mr_runtime_free(rt_, farewell_);
		rt_ = std::exchange(o.rt_, nullptr);
		farewell_ = o.farewell_;
		return *this;
	}
	~runtime() { mr_runtime_free(rt_, farewell_); }
	/* The next event, waiting at most `timeout` seconds (0: not at all, negative: no limit). */
	std::optional<event> poll(double timeout)
	{
		mr_event ev;
		int n = mr_runtime_poll(rt_, &ev, 1, timeout);
		check(n < 0 ? MR_FORKED : MR_OK);
		return n ? std::optional<event>(std::in_place, rt_, ev) : std::nullopt;
	}
	/* Calls fn(event &) for what there is, up to Max events; returns their number. What an exception of
	 * fn leaves is released. */
	template <int Max = 64, class F> int poll_each(double timeout, F &&fn)
	{
		mr_event raw[Max];
		int n = mr_runtime_poll(rt_, raw, Max, timeout), next = 0;
		check(n < 0 ? MR_FORKED : MR_OK);
		struct rest {
			mr_runtime *rt;
			mr_event *raw;
			int &next, n;
			~rest()
			{
				while (next < n) event(rt, raw[next++]);
			}
		} left{rt_, raw, next, n};
		while (next < n) {
			event ev(rt_, raw[next++]);
			fn(ev);
		}
		return n;
	}
	int fd() { return mr_runtime_fd(rt_); }
	void wake_at(double at) { check(mr_runtime_wake_at(rt_, at)); }
	void stop(std::uint64_t token, double timeout)
	{
		check(mr_runtime_stop(rt_, token, timeout));
	}
	void log(int level, int format = MR_LOG_LOGFMT)
	{
		check(mr_runtime_log(rt_, level, format));
	}
	void log_events(bool on) { check(mr_runtime_log_events(rt_, on)); }
	mr_stats stats() const noexcept
	{
		mr_stats s;
		mr_runtime_stats(rt_, &s);
		return s;
	}
	mr_runtime *get() const noexcept { return rt_; }

      private:
	mr_runtime *rt_ = nullptr;
	double farewell_;
};

/* ---- requests, channels ---------------------------------------------------------------------- */

/* What a channel is asked for. The names are borrowed until it was sent. */
class request
{
      public:
	request(mr_operation operation, byte_view name = {}, byte_view extra = {},
		byte_view key = {}, unsigned flags = 0, std::uint32_t number = 0) noexcept
	    : r_()
	{
		r_.operation = operation;
		r_.name = name;
		r_.extra = extra;
		r_.routing_key = key;
		r_.flags = flags;
		r_.number = number;
	}
	static request queue_declare(byte_view queue, unsigned flags = 0)
	{
		return {MR_QUEUE_DECLARE, queue, {}, {}, flags};
	}
	static request exchange_declare(byte_view exchange, byte_view type, unsigned flags = 0)
	{
		return {MR_EXCHANGE_DECLARE, exchange, type, {}, flags};
	}
	static request queue_bind(byte_view queue, byte_view exchange, byte_view routing_key)
	{
		return {MR_QUEUE_BIND, queue, exchange, routing_key};
	}
	static request qos(std::uint32_t prefetch_count)
	{
		return {MR_BASIC_QOS, {}, {}, {}, 0, prefetch_count};
	}
	static request consume(byte_view queue, std::uint32_t consumer, unsigned flags = 0)
	{
		return {MR_BASIC_CONSUME, queue, {}, {}, flags, consumer};
	}
	static request cancel(byte_view consumer_tag)
	{
		return {MR_BASIC_CANCEL, {}, consumer_tag};
	}
	static request get(byte_view queue, unsigned flags = 0)
	{
		return {MR_BASIC_GET, queue, {}, {}, flags};
	}
	static request confirm_select() { return {MR_CONFIRM_SELECT}; }
	request(request &&o) noexcept : r_(o.r_) { o.r_.arguments = nullptr; }
	request &operator=(request &&o) noexcept
	{
		std::swap(r_, o.r_);
		return *this;
	}
	~request() { mr_table_free(r_.arguments); }
	request &&with(table &&arguments) &&
	{
		mr_table_free(std::exchange(r_.arguments, arguments.release()));
		return std::move(*this);
	}
	request &&within(double timeout) &&
	{
		r_.timeout = timeout;
		return std::move(*this);
	}
	const mr_request &raw() const noexcept { return r_; }
	void sent() noexcept { r_.arguments = nullptr; } /* the library has taken them */

      private:
	mr_request r_;
};

class channel_view
{
      public:
	channel_view() noexcept = default;
	channel_view(mr_channel *ch) noexcept : ch_(ch) {}
	void ask(std::uint64_t token, request &&r)
	{
		check(mr_channel_request(ch_, token, &r.raw()));
		r.sent();
	}
	/* Sends them one after the other, with one end; see mr_setup. */
	template <std::size_t N> void setup(std::uint64_t token, request (&&list)[N])
	{
		mr_request raw[N];
		for (std::size_t i = 0; i < N; i++) raw[i] = list[i].raw();
		check(mr_setup(ch_, token, raw, static_cast<std::uint32_t>(N)));
		for (request &r : list) r.sent();
	}
	/* `properties`: what mr_properties_encode wrote; empty: only persistent. Returns the number, or 0. */
	std::uint64_t publish(byte_view exchange, byte_view routing_key, byte_view body,
		byte_view properties = {}, int flags = 0, double timeout = 0)
	{
		std::uint64_t number = 0;
		check(try_publish(exchange, routing_key, body, properties, flags, timeout,
			&number));
		return number;
	}
	int try_publish(byte_view exchange, byte_view routing_key, byte_view body,
		byte_view properties, int flags, double timeout, std::uint64_t *number) noexcept
	{
		return mr_channel_publish(ch_, exchange.chars(), exchange.size(),
			routing_key.chars(), routing_key.size(), body.chars(), body.size(),
			properties.empty() ? nullptr : properties.chars(), properties.size(), flags,
			timeout, number);
	}
	void close(std::uint64_t token) { check(mr_channel_close(ch_, token)); }
	bool is_open() const noexcept { return ch_ && mr_channel_is_open(ch_); }
	std::uint16_t number() const noexcept { return mr_channel_number(ch_); }
	mr_channel *get() const noexcept { return ch_; }
	explicit operator bool() const noexcept { return ch_ != nullptr; }

      protected:
	mr_channel *ch_ = nullptr;
};

/* Its end closes the channel, without an event. */
class channel : public channel_view
{
      public:
	channel() noexcept = default;
	explicit channel(mr_channel *ch) noexcept : channel_view(ch) {}
	channel(channel &&o) noexcept : channel_view(o.release()) {}
	channel &operator=(channel &&o) noexcept
	{
		mr_channel_free(std::exchange(ch_, o.release()));
		return *this;
	}
	~channel() { mr_channel_free(ch_); }
	mr_channel *release() noexcept { return std::exchange(ch_, nullptr); }
};

/* ---- connections -------------------------------------------------------------------------- */

class connection_view
{
      public:
	connection_view() noexcept = default;
	connection_view(mr_connection *c) noexcept : c_(c) {}
	void open(std::uint64_t token) { check(mr_connection_open(c_, token)); }
	void close(std::uint64_t token, double timeout = 0)
	{
		check(mr_connection_close(c_, token, timeout));
	}
	/* Usable when the request with this token has ended. */
	channel open_channel(std::uint64_t token)
	{
		mr_channel *ch = nullptr;
		check(mr_channel_open(c_, token, &ch));
		return channel(ch);
	}
	int state() const noexcept
	{
		return mr_connection_state(c_);
	} /* enum mr_connection_state */
	std::uint32_t id() const noexcept { return mr_connection_id(c_); }
	mr_connection *get() const noexcept { return c_; }
	explicit operator bool() const noexcept { return c_ != nullptr; }

      protected:
	mr_connection *c_ = nullptr;
};

/* Its end closes the connection by force; close it first, or stop the runtime, to end it in order. */
class connection : public connection_view
{
      public:
	connection() noexcept = default;
	connection(const runtime &rt, const options &o)
	{
		mr_error e = mr_error();
		check(mr_connection_new(rt.get(), o.get(), &c_, &e), e);
	}
	connection(connection &&o) noexcept : connection_view(o.release()) {}
	connection &operator=(connection &&o) noexcept
	{
		mr_connection_free(std::exchange(c_, o.release()));
		return *this;
	}
	~connection() { mr_connection_free(c_); }
	mr_connection *release() noexcept { return std::exchange(c_, nullptr); }
};

/* ---- pools -------------------------------------------------------------------------------- */

/* A loan of a pool, or a wait for one; its end returns it. */
class loan
{
      public:
	loan() noexcept = default;
	loan(mr_pool *pool, std::uint64_t token) noexcept : pool_(pool), token_(token) {}
	loan(loan &&o) noexcept : pool_(std::exchange(o.pool_, nullptr)), token_(o.token_) {}
	loan &operator=(loan &&o) noexcept
	{
		reset();
		pool_ = std::exchange(o.pool_, nullptr);
		token_ = o.token_;
		return *this;
	}
	~loan() { reset(); }
	/* True if it was lent; else the event with the token is still to come. */
	bool is_lent() const noexcept { return item() != 0; }
	std::uint32_t item() const noexcept { return pool_ ? mr_pool_item(pool_, token_) : 0; }
	connection_view connection() const noexcept { return mr_pool_connection(pool_, item()); }
	channel_view channel() const noexcept { return mr_pool_channel(pool_, item()); }
	void reset() noexcept
	{
		if (pool_) mr_pool_release(std::exchange(pool_, nullptr), token_);
	}
	void replace() noexcept /* it is broken */
	{
		if (pool_) mr_pool_replace(std::exchange(pool_, nullptr), token_);
	}

      private:
	mr_pool *pool_ = nullptr;
	std::uint64_t token_ = 0;
};

class pool
{
      public:
	pool(const runtime &rt, options &&o, mr_strategy strategy, std::uint32_t limit)
	{
		mr_error e = mr_error();
		mr_pool *p = nullptr;
		int st = mr_pool_new(rt.get(), o.get(), strategy, limit, &p, &e);
		if (st == MR_OK) o.release();
		check(st, e);
		p_.reset(p);
	}
	/* Throws MR_POOL_EXHAUSTED if `timeout` is 0 and nothing is free. */
	loan acquire(std::uint64_t token, int purpose, double timeout)
	{
		std::uint32_t item = 0;
		check(mr_pool_acquire(p_.get(), token, purpose, timeout, &item));
		return loan(p_.get(), token);
	}
	mr_pool_counts count() const noexcept
	{
		mr_pool_counts c;
		mr_pool_count(p_.get(), &c);
		return c;
	}
	void close(std::uint64_t token = 0) { check(mr_pool_close(p_.get(), token)); }
	mr_pool *get() const noexcept { return p_.get(); }

      private:
	detail::owner<mr_pool, mr_pool_free> p_;
};

} // namespace mr

#endif
