// client_go: amqp091-go beside the other clients of the bench.
// Called as `client_go MODE PORT BODY MESSAGES`; modes: consume, consume-noack, publish, publish-confirm, rtt, confirm-one.
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	prefetch    = 1000
	outstanding = 1000
	tripWarmUp  = 100
)

type arguments struct {
	mode     string
	port     int
	body     int
	messages int
}

// span is the measured part of a run.
type span struct {
	start time.Time
	cpu   time.Duration
	wall  time.Duration
}

var bodyRead byte // keeps the reading of bodies alive

func check(err error) {
	if err != nil {
		log.Fatal("amqp091-go: ", err)
	}
}

func usage() syscall.Rusage {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used
}

func cpuNow() time.Duration {
	used := usage()
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func begin() span {
	return span{start: time.Now(), cpu: cpuNow()}
}

func (s *span) stop() {
	s.wall = time.Since(s.start)
	s.cpu = cpuNow() - s.cpu
}

func (s *span) print(args arguments, counted int, more string) {
	seconds := s.wall.Seconds()
	fmt.Printf("{\"client\":\"amqp091-go\",\"mode\":\"%s\",\"body\":%d,\"messages\":%d,\"seconds\":%.6f,"+
		"\"rate\":%.1f,\"cpu_us_per_msg\":%.4f,\"max_rss_kib\":%d%s}\n",
		args.mode, args.body, counted, seconds, float64(counted)/seconds,
		s.cpu.Seconds()*1e6/float64(counted), usage().Maxrss, more)
}

func open(port int) (*amqp.Connection, *amqp.Channel) {
	conn, err := amqp.Dial(fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port))
	check(err)
	ch, err := conn.Channel()
	check(err)
	return conn, ch
}

func message(body []byte) amqp.Publishing {
	return amqp.Publishing{ContentType: "text/plain", DeliveryMode: amqp.Transient, Body: body}
}

func consume(args arguments, noAck bool) {
	conn, ch := open(args.port)
	defer conn.Close()
	if !noAck {
		check(ch.Qos(prefetch, 0, false))
	}
	deliveries, err := ch.Consume("bench", "bench", noAck, false, false, false, nil)
	check(err)
	var s span
	for n := 0; n < args.messages; n++ {
		d, ok := <-deliveries
		if !ok {
			log.Fatal("amqp091-go: the connection was lost")
		}
		if n == 0 {
			s = begin()
		}
		if len(d.Body) > 0 {
			bodyRead = d.Body[0]
		}
		if !noAck {
			check(d.Ack(false))
		}
	}
	s.stop()
	s.print(args, args.messages-1, "")
}

// publish is measured up to channel.close-ok, so that the peer has taken every message.
func publish(args arguments) {
	conn, ch := open(args.port)
	defer conn.Close()
	ctx := context.Background()
	msg := message(bytes.Repeat([]byte("x"), args.body))
	s := begin()
	for n := 0; n < args.messages; n++ {
		check(ch.PublishWithContext(ctx, "", "bench", false, false, msg))
	}
	check(ch.Close())
	s.stop()
	s.print(args, args.messages, "")
}

// publishConfirm counts confirms by NotifyPublish. Deferred confirmations cannot be used: amqp091-go
// 1.5.0 registers one only after it has sent the message, drops a confirm that comes in between, and
// then Wait never returns (seen in 2 of some 30 runs against the load peer).
func publishConfirm(args arguments) {
	conn, ch := open(args.port)
	defer conn.Close()
	ctx := context.Background()
	msg := message(bytes.Repeat([]byte("x"), args.body))
	check(ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, outstanding))
	await := func() {
		if c, ok := <-confirms; !ok || !c.Ack {
			log.Fatal("amqp091-go: a message was not confirmed")
		}
	}
	s := begin()
	for n := 0; n < args.messages; n++ {
		if n >= outstanding {
			await()
		}
		check(ch.PublishWithContext(ctx, "", "bench", false, false, msg))
	}
	for n := 0; n < outstanding && n < args.messages; n++ {
		await()
	}
	check(ch.Close())
	s.stop()
	s.print(args, args.messages, "")
}

func consumeTemporary(ch *amqp.Channel, queue string) <-chan amqp.Delivery {
	_, err := ch.QueueDeclare(queue, false, true, true, false, nil)
	check(err)
	deliveries, err := ch.Consume(queue, queue, true, false, false, false, nil)
	check(err)
	return deliveries
}

func roundTrips(args arguments) {
	conn, ch := open(args.port)
	defer conn.Close()
	ctx := context.Background()
	msg := message(bytes.Repeat([]byte("x"), args.body))
	requests := consumeTemporary(ch, "bench-go-a")
	answers := consumeTemporary(ch, "bench-go-b")
	trip := func() {
		check(ch.PublishWithContext(ctx, "", "bench-go-a", false, false, msg))
		request := <-requests
		check(ch.PublishWithContext(ctx, "", "bench-go-b", false, false, message(request.Body)))
		<-answers
	}
	measureTrips(args, trip)
}

// confirmOne publishes a message and waits for its confirm, by NotifyPublish as above.
func confirmOne(args arguments) {
	conn, ch := open(args.port)
	defer conn.Close()
	ctx := context.Background()
	msg := message(bytes.Repeat([]byte("x"), args.body))
	_, err := ch.QueueDeclare("bench-go-a", false, true, true, false, nil)
	check(err)
	check(ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	measureTrips(args, func() {
		check(ch.PublishWithContext(ctx, "", "bench-go-a", false, false, msg))
		if c, ok := <-confirms; !ok || !c.Ack {
			log.Fatal("amqp091-go: a message was not confirmed")
		}
	})
}

func measureTrips(args arguments, trip func()) {
	for n := 0; n < tripWarmUp; n++ {
		trip()
	}
	trips := make([]float64, args.messages)
	s := begin()
	for n := range trips {
		start := time.Now()
		trip()
		trips[n] = time.Since(start).Seconds() * 1e6
	}
	s.stop()
	sort.Float64s(trips)
	texts := make([]string, len(trips))
	for n, trip := range trips {
		texts[n] = strconv.FormatFloat(trip, 'f', 1, 64)
	}
	s.print(args, args.messages, fmt.Sprintf(",\"median_us\":%.1f,\"p99_us\":%.1f,\"trips_us\":[%s]",
		trips[len(trips)/2], trips[len(trips)*99/100], strings.Join(texts, ",")))
}

func parse() arguments {
	if len(os.Args) != 5 {
		log.Fatal("usage: client_go MODE PORT BODY MESSAGES")
	}
	var numbers [3]int
	for i := range numbers {
		n, err := strconv.Atoi(os.Args[i+2])
		check(err)
		numbers[i] = n
	}
	return arguments{os.Args[1], numbers[0], numbers[1], numbers[2]}
}

func main() {
	args := parse()
	switch args.mode {
	case "consume":
		consume(args, false)
	case "consume-noack":
		consume(args, true)
	case "publish":
		publish(args)
	case "publish-confirm":
		publishConfirm(args)
	case "rtt":
		roundTrips(args)
	case "confirm-one":
		confirmOne(args)
	default:
		log.Fatal("amqp091-go: unknown mode ", args.mode)
	}
}
