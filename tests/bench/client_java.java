// client_java: RabbitMQ's Java client beside the other clients of the bench.
// Called as `ClientJava MODE PORT BODY MESSAGES`; modes: consume, consume-noack, publish, publish-confirm, rtt, confirm-one.
// SPDX-License-Identifier: MIT
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.CancelCallback;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConfirmListener;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DeliverCallback;
import com.sun.management.OperatingSystemMXBean;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;

final class ClientJava {
	private static final int PREFETCH = 1000;
	private static final int OUTSTANDING = 1000;
	private static final int TRIP_WARM_UP = 100;
	private static final long WAIT = 60_000; // ms; only ever reached when something is broken

	private static final OperatingSystemMXBean SYSTEM =
			(OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
	private static final CancelCallback CANCELLED = tag -> fail("the consumer was cancelled", null);

	private static volatile byte bodyRead; // keeps the reading of bodies alive

	private final String mode;
	private final int port;
	private final int body;
	private final int messages;
	private Connection connection;
	private Channel channel;
	private Span span;
	private int seen;
	private long asked;

	/** The measured part of a run. CPU is of all threads: those of the compiler and the collector, too. */
	private static final class Span {
		private long cpu = SYSTEM.getProcessCpuTime();
		private long wall = System.nanoTime();

		void stop() {
			wall = System.nanoTime() - wall;
			cpu = SYSTEM.getProcessCpuTime() - cpu;
		}
	}

	private ClientJava(String[] args) {
		mode = args[0];
		port = Integer.parseInt(args[1]);
		body = Integer.parseInt(args[2]);
		messages = Integer.parseInt(args[3]);
	}

	/** Ends the process: a thread that waits for messages would wait for ever. */
	private static void fail(String what, Throwable cause) {
		System.err.println("rabbitmq-java: " + what + (cause == null ? "" : ": " + cause));
		Runtime.getRuntime().halt(1);
	}

	private void open() throws Exception {
		ConnectionFactory factory = new ConnectionFactory(); // recovers by itself, which is its default
		factory.setHost("127.0.0.1");
		factory.setPort(port);
		connection = factory.newConnection();
		connection.addShutdownListener(cause -> {
			if (!cause.isInitiatedByApplication()) fail("the connection was lost", cause);
		});
		channel = connection.createChannel();
		channel.addShutdownListener(cause -> {
			if (!cause.isInitiatedByApplication()) fail("the channel was closed", cause);
		});
	}

	private static long maxRssKib() throws IOException {
		for (String line : Files.readAllLines(Paths.get("/proc/self/status")))
			if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("[^0-9]", ""));
		throw new IOException("no VmHWM in /proc/self/status");
	}

	private void print(int counted, String more) throws IOException {
		double seconds = span.wall / 1e9;
		System.out.printf(Locale.ROOT, "{\"client\":\"rabbitmq-java\",\"mode\":\"%s\",\"body\":%d,"
						+ "\"messages\":%d,\"seconds\":%.6f,\"rate\":%.1f,\"cpu_us_per_msg\":%.4f,"
						+ "\"max_rss_kib\":%d%s}%n",
				mode, body, counted, seconds, counted / seconds, span.cpu / 1e3 / counted, maxRssKib(),
				more);
	}

	private byte[] payload() {
		byte[] bytes = new byte[body];
		Arrays.fill(bytes, (byte) 'x');
		return bytes;
	}

	private static AMQP.BasicProperties properties() {
		return new AMQP.BasicProperties.Builder().contentType("text/plain").deliveryMode(1).build();
	}

	/** The callback runs on the thread that the connection has for its consumers, one message at a time. */
	private void consume(boolean noAck) throws Exception {
		open();
		CountDownLatch done = new CountDownLatch(1);
		DeliverCallback take = (tag, delivery) -> {
			if (seen == 0) span = new Span();
			seen++;
			byte[] bytes = delivery.getBody();
			if (bytes.length > 0) bodyRead = bytes[0];
			if (!noAck) channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
			if (seen == messages) {
				span.stop();
				done.countDown();
			}
		};
		if (!noAck) channel.basicQos(PREFETCH);
		channel.basicConsume("bench", noAck, "bench", take, CANCELLED);
		done.await();
		print(messages - 1, "");
		connection.close();
	}

	/** Measured up to channel.close-ok, so that the peer has taken every message. */
	private void publish() throws Exception {
		open();
		byte[] bytes = payload();
		AMQP.BasicProperties properties = properties();
		span = new Span();
		for (int n = 0; n < messages; n++) channel.basicPublish("", "bench", properties, bytes);
		channel.close();
		span.stop();
		print(messages, "");
		connection.close();
	}

	/** A listener that clears a sorted map, as in RabbitMQ's tutorial; a semaphore bounds the map. */
	private void publishConfirm() throws Exception {
		open();
		byte[] bytes = payload();
		AMQP.BasicProperties properties = properties();
		ConcurrentSkipListMap<Long, byte[]> outstanding = new ConcurrentSkipListMap<>();
		Semaphore room = new Semaphore(OUTSTANDING);
		channel.confirmSelect();
		channel.addConfirmListener(new ConfirmListener() {
			@Override
			public void handleAck(long tag, boolean multiple) {
				int settled = 0;
				if (multiple) {
					for (Map.Entry<Long, byte[]> first = outstanding.firstEntry();
							first != null && first.getKey() <= tag; first = outstanding.firstEntry()) {
						outstanding.remove(first.getKey());
						settled++;
					}
				} else if (outstanding.remove(tag) != null) {
					settled = 1;
				}
				room.release(settled);
			}

			@Override
			public void handleNack(long tag, boolean multiple) {
				fail("a message was not confirmed", null);
			}
		});
		span = new Span();
		for (int n = 0; n < messages; n++) {
			room.acquire();
			outstanding.put(channel.getNextPublishSeqNo(), bytes);
			channel.basicPublish("", "bench", properties, bytes);
		}
		channel.waitForConfirmsOrDie(WAIT);
		channel.close();
		span.stop();
		print(messages, "");
		connection.close();
	}

	/** waitForConfirmsOrDie after each message, as RabbitMQ's tutorial publishes them one by one. */
	private void confirmOne() throws Exception {
		open();
		byte[] bytes = payload();
		AMQP.BasicProperties properties = properties();
		double[] trips = new double[messages];
		channel.queueDeclare("bench-java-a", false, true, true, null);
		channel.confirmSelect();
		for (int n = -TRIP_WARM_UP; n < messages; n++) {
			if (n == 0) span = new Span();
			long start = System.nanoTime();
			channel.basicPublish("", "bench-java-a", properties, bytes);
			channel.waitForConfirmsOrDie(WAIT);
			if (n >= 0) trips[n] = (System.nanoTime() - start) / 1e3;
		}
		span.stop();
		printTrips(trips);
		connection.close();
	}

	private void printTrips(double[] trips) throws IOException {
		Arrays.sort(trips);
		StringBuilder all = new StringBuilder();
		for (double trip : trips) all.append(String.format(Locale.ROOT, ",%.1f", trip));
		print(messages, String.format(Locale.ROOT, ",\"median_us\":%.1f,\"p99_us\":%.1f,\"trips_us\":[%s]",
				trips[messages / 2], trips[messages * 99 / 100], all.substring(1)));
	}

	private void ask(AMQP.BasicProperties properties, byte[] bytes) throws IOException {
		asked = System.nanoTime();
		channel.basicPublish("", "bench-java-a", properties, bytes);
	}

	private void consumeTemporary(String queue, DeliverCallback take) throws IOException {
		channel.queueDeclare(queue, false, true, true, null);
		channel.basicConsume(queue, true, queue, take, CANCELLED);
	}

	/** Publishes to one queue, whose callback replies to another, whose callback starts the next trip. */
	private void roundTrips() throws Exception {
		open();
		byte[] bytes = payload();
		AMQP.BasicProperties properties = properties();
		double[] trips = new double[messages];
		CountDownLatch done = new CountDownLatch(1);
		consumeTemporary("bench-java-a", (tag, request) ->
				channel.basicPublish("", "bench-java-b", properties, request.getBody()));
		consumeTemporary("bench-java-b", (tag, answer) -> {
			if (seen >= TRIP_WARM_UP) trips[seen - TRIP_WARM_UP] = (System.nanoTime() - asked) / 1e3;
			seen++;
			if (seen == TRIP_WARM_UP) span = new Span();
			if (seen < TRIP_WARM_UP + messages) {
				ask(properties, bytes);
			} else {
				span.stop();
				done.countDown();
			}
		});
		ask(properties, bytes);
		done.await();
		printTrips(trips);
		connection.close();
	}

	private void run() throws Exception {
		switch (mode) {
		case "consume": consume(false); break;
		case "consume-noack": consume(true); break;
		case "publish": publish(); break;
		case "publish-confirm": publishConfirm(); break;
		case "rtt": roundTrips(); break;
		case "confirm-one": confirmOne(); break;
		default: fail("unknown mode " + mode, null);
		}
	}

	public static void main(String[] args) {
		if (args.length != 4) fail("usage: ClientJava MODE PORT BODY MESSAGES", null);
		try {
			new ClientJava(args).run();
		} catch (Exception cause) {
			fail("failed", cause);
		}
	}
}
