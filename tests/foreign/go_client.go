// go_client: what amqp091-go sees of a broker.
// Called as `go_client URL`. Prints "ok - what" or "not ok - what: why" for each check; fails when one
// did, or after 30 s.
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	deadline = 30 * time.Second
	patience = 10 * time.Second
)

var prefix = fmt.Sprintf("foreign-go-%d-", os.Getpid())

// failure ends a check; it is what panics carry.
type failure struct{ why string }

func must(err error) {
	if err != nil {
		panic(failure{err.Error()})
	}
}

func expect(good bool, format string, values ...interface{}) {
	if !good {
		panic(failure{fmt.Sprintf(format, values...)})
	}
}

// client is a connection with a channel in confirm mode.
type client struct {
	conn     *amqp.Connection
	ch       *amqp.Channel
	confirms chan amqp.Confirmation
	returns  chan amqp.Return
}

func connect(url string) *client {
	conn, err := amqp.Dial(url)
	must(err)
	ch, err := conn.Channel()
	must(err)
	must(ch.Confirm(false))
	return &client{conn, ch, ch.NotifyPublish(make(chan amqp.Confirmation, 1000)),
		ch.NotifyReturn(make(chan amqp.Return, 1000))}
}

func (c *client) queue(name string, arguments amqp.Table) string {
	q, err := c.ch.QueueDeclare(prefix+name, false, false, true, false, arguments)
	must(err)
	return q.Name
}

func (c *client) depth(queue string) int {
	q, err := c.ch.QueueDeclarePassive(queue, false, false, true, false, nil)
	must(err)
	return q.Messages
}

func (c *client) send(exchange, key string, msg amqp.Publishing) {
	must(c.ch.PublishWithContext(context.Background(), exchange, key, true, false, msg))
}

// confirm waits for the next confirm.
func (c *client) confirm() amqp.Confirmation {
	select {
	case confirmation, ok := <-c.confirms:
		expect(ok, "the channel was closed")
		return confirmation
	case <-time.After(patience):
		panic(failure{"no confirm came"})
	}
}

func (c *client) publish(queue string, bodies ...string) {
	for _, body := range bodies {
		c.send("", queue, amqp.Publishing{Body: []byte(body)})
		expect(c.confirm().Ack, "%q was nacked", body)
	}
	expect(len(c.returns) == 0, "a message came back")
}

func (c *client) consume(queue string, autoAck bool) <-chan amqp.Delivery {
	deliveries, err := c.ch.Consume(queue, queue, autoAck, false, false, false, nil)
	must(err)
	return deliveries
}

func next(deliveries <-chan amqp.Delivery) amqp.Delivery {
	select {
	case d, ok := <-deliveries:
		expect(ok, "the consumer ended")
		return d
	case <-time.After(patience):
		panic(failure{"no delivery came"})
	}
}

func declares(c *client) {
	expect(c.depth(c.queue("declared", nil)) == 0, "it is not empty")
	q, err := c.ch.QueueDeclare("", false, true, true, false, nil)
	must(err)
	expect(strings.HasPrefix(q.Name, "amq.gen-"), "the queue was called %q", q.Name)
}

func publishesWithConfirms(c *client) {
	queue := c.queue("confirmed", nil)
	for n := 0; n < 200; n++ {
		c.send("", queue, amqp.Publishing{Body: []byte("x")})
	}
	seen := map[uint64]bool{}
	for n := 0; n < 200; n++ {
		confirmation := c.confirm()
		expect(confirmation.Ack && !seen[confirmation.DeliveryTag], "confirm %d", confirmation.DeliveryTag)
		seen[confirmation.DeliveryTag] = true
	}
	expect(c.depth(queue) == 200, "there are %d messages", c.depth(queue))
}

func keepsProperties(c *client) {
	queue := c.queue("properties", nil)
	sent := amqp.Publishing{
		ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Priority: 3,
		CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1700000000, 0),
		Type: "t", UserId: "guest", AppId: "a",
		Headers: amqp.Table{"text": "x", "number": int32(-5), "big": int64(1) << 40, "byte": byte(200), "short": int16(-3),
			"float": float32(1.5), "double": 2.25, "true": true, "void": nil, "bytes": []byte("\x00\xff"),
			"decimal": amqp.Decimal{Scale: 2, Value: 314}, "time": time.Unix(1600000000, 0),
			"list": []interface{}{int32(1), "two"}, "table": amqp.Table{"deep": "er"}},
		Body: bytes.Repeat([]byte("\x00\x01\xff"), 100000),
	}
	c.send("", queue, sent)
	expect(c.confirm().Ack, "it was nacked")
	d, ok, err := c.ch.Get(queue, true)
	must(err)
	expect(ok, "the queue is empty")
	got := amqp.Publishing{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
		CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
		Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId, AppId: d.AppId, Headers: d.Headers, Body: d.Body,
	}
	expect(reflect.DeepEqual(sent, got), "what came back is not the same: %v", d.Headers)
	_, ok, err = c.ch.Get(queue, true)
	must(err)
	expect(!ok, "the queue is not empty")
}

func getsReturnedWhatHasNoRoute(c *client) {
	c.send("", prefix+"nowhere", amqp.Publishing{Body: []byte("back")})
	expect(c.confirm().Ack, "it was nacked")
	select {
	case r := <-c.returns:
		expect(r.ReplyCode == 312 && r.ReplyText == "NO_ROUTE", "%d %s", r.ReplyCode, r.ReplyText)
		expect(string(r.Body) == "back" && r.RoutingKey == prefix+"nowhere", "another one came back")
	default:
		panic(failure{"the confirm came before the return"})
	}
}

func isNackedByAFullQueue(c *client) {
	queue := c.queue("full", amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
	c.publish(queue, "one")
	c.send("", queue, amqp.Publishing{Body: []byte("two")})
	expect(!c.confirm().Ack, "it was acked")
}

func consumesAndAcks(c *client) {
	queue := c.queue("consumed", nil)
	for n := 0; n < 50; n++ {
		c.publish(queue, fmt.Sprint(n))
	}
	deliveries := c.consume(queue, false)
	for n := 0; n < 50; n++ {
		d := next(deliveries)
		expect(string(d.Body) == fmt.Sprint(n) && !d.Redelivered, "%q came instead of %d", d.Body, n)
		must(d.Ack(false))
	}
	must(c.ch.Cancel(queue, false))
	must(c.ch.Recover(true))
	expect(c.depth(queue) == 0, "%d messages are left", c.depth(queue))
}

func seesNackedMessagesAgain(c *client) {
	queue := c.queue("nacked", nil)
	c.publish(queue, "again")
	deliveries := c.consume(queue, false)
	d := next(deliveries)
	expect(!d.Redelivered, "it is new, and redelivered")
	must(d.Nack(false, true))
	d = next(deliveries)
	expect(d.Redelivered && string(d.Body) == "again", "it is not said to be redelivered")
	must(d.Reject(true))
	d = next(deliveries)
	must(d.Nack(false, false))
	must(c.ch.Cancel(queue, false))
	expect(c.depth(queue) == 0, "it is still there")
}

func getsNoMoreThanThePrefetch(c *client) {
	ch, err := c.conn.Channel()
	must(err)
	queue, err := ch.QueueDeclare("", false, true, true, false, nil)
	must(err)
	c.publish(queue.Name, "1", "2", "3", "4", "5")
	must(ch.Qos(2, 0, false))
	deliveries, err := ch.Consume(queue.Name, "", false, false, false, false, nil)
	must(err)
	next(deliveries)
	second := next(deliveries)
	expect(c.depth(queue.Name) == 3, "%d messages are waiting", c.depth(queue.Name))
	expect(len(deliveries) == 0, "a third one came")
	must(second.Ack(true))
	next(deliveries)
	fourth := next(deliveries)
	expect(c.depth(queue.Name) == 1, "%d messages are waiting", c.depth(queue.Name))
	must(fourth.Ack(true))
	must(next(deliveries).Ack(false))
	must(ch.Close())
}

func seesExpiredMessagesDeadLettered(c *client) {
	dead := c.queue("dead", nil)
	queue := c.queue("short", amqp.Table{
		"x-message-ttl": int32(50), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	deliveries := c.consume(dead, true)
	c.publish(queue, "late")
	d := next(deliveries)
	deaths, ok := d.Headers["x-death"].([]interface{})
	expect(ok && len(deaths) == 1, "x-death is %v", d.Headers["x-death"])
	death, ok := deaths[0].(amqp.Table)
	expect(ok && death["queue"] == queue && death["reason"] == "expired" && death["count"] == int64(1) &&
		death["exchange"] == "", "x-death is %v", deaths)
	expect(string(d.Body) == "late" && d.RoutingKey == dead, "another one came")
	must(c.ch.Cancel(dead, false))
}

func routesByExchangesAndBindings(c *client) {
	queue, source, target := c.queue("bound", nil), prefix+"topic", prefix+"headers"
	must(c.ch.ExchangeDeclare(source, "topic", false, true, false, false, nil))
	must(c.ch.ExchangeDeclare(target, "headers", false, true, true, false, nil))
	must(c.ch.ExchangeBind(target, "a.#", source, false, nil))
	must(c.ch.QueueBind(queue, "", target, false, amqp.Table{"x-match": "any", "kind": "log"}))
	c.send(source, "a.b", amqp.Publishing{Headers: amqp.Table{"kind": "log"}})
	expect(c.confirm().Ack && c.depth(queue) == 1, "it was not routed")
	c.send(source, "a.b", amqp.Publishing{Headers: amqp.Table{"kind": "other"}})
	expect(c.confirm().Ack && len(c.returns) == 1, "it was routed")
	<-c.returns
	must(c.ch.QueueUnbind(queue, "", target, amqp.Table{"x-match": "any", "kind": "log"}))
	must(c.ch.ExchangeDelete(source, false, false))
}

func isToldThatItsConsumerIsCancelled(c *client) {
	queue := c.queue("cancelled", nil)
	cancels := c.ch.NotifyCancel(make(chan string, 10))
	c.consume(queue, true)
	other, err := c.conn.Channel()
	must(err)
	_, err = other.QueueDelete(queue, false, false, false)
	must(err)
	must(other.Close())
	select {
	case tag := <-cancels:
		expect(tag == queue, "%q was cancelled", tag)
	case <-time.After(patience):
		panic(failure{"no cancel came"})
	}
}

func commitsAndRollsBack(c *client) {
	queue := c.queue("transaction", nil)
	ch, err := c.conn.Channel()
	must(err)
	must(ch.Tx())
	send := func(body string) {
		must(ch.PublishWithContext(context.Background(), "", queue, false, false, amqp.Publishing{Body: []byte(body)}))
	}
	send("gone")
	must(ch.TxRollback())
	send("kept")
	must(ch.TxCommit())
	expect(c.depth(queue) == 1, "there are %d messages", c.depth(queue))
	must(ch.Close())
}

func survivesAPassiveDeclareOfWhatIsMissing(c *client) {
	ch, err := c.conn.Channel()
	must(err)
	_, err = ch.QueueDeclarePassive(prefix+"missing", false, false, false, false, nil)
	var why *amqp.Error
	expect(errors.As(err, &why), "the error is %v", err)
	expect(why.Code == 404 && why.Reason == fmt.Sprintf("NOT_FOUND - no queue '%smissing' in vhost '/'", prefix), "%v", why)
	expect(!c.conn.IsClosed(), "the connection was closed")
	ch, err = c.conn.Channel()
	must(err)
	must(ch.Close())
}

func deletesQueues(c *client) {
	queue := c.queue("deleted", nil)
	c.publish(queue, "1", "2")
	purged, err := c.ch.QueueDelete(queue, false, false, false)
	must(err)
	expect(purged == 2, "%d messages went with it", purged)
}

func closes(c *client) {
	must(c.ch.Close())
	must(c.conn.Close())
}

var checks = []struct {
	what string
	run  func(*client)
}{
	{"declares", declares},
	{"publishes with confirms", publishesWithConfirms},
	{"keeps properties", keepsProperties},
	{"gets returned what has no route", getsReturnedWhatHasNoRoute},
	{"is nacked by a full queue", isNackedByAFullQueue},
	{"consumes and acks", consumesAndAcks},
	{"sees nacked messages again", seesNackedMessagesAgain},
	{"gets no more than the prefetch", getsNoMoreThanThePrefetch},
	{"sees expired messages dead-lettered", seesExpiredMessagesDeadLettered},
	{"routes by exchanges and bindings", routesByExchangesAndBindings},
	{"is told that its consumer is cancelled", isToldThatItsConsumerIsCancelled},
	{"commits and rolls back", commitsAndRollsBack},
	{"survives a passive declare of what is missing", survivesAPassiveDeclareOfWhatIsMissing},
	{"deletes queues", deletesQueues},
	{"closes", closes},
}

// attempt runs a check and tells of it.
func attempt(what string, run func()) (good bool) {
	defer func() {
		switch why := recover().(type) {
		case nil:
		case failure:
			fmt.Printf("not ok - amqp091-go: %s: %s\n", what, why.why)
			good = false
		default:
			panic(why)
		}
	}()
	run()
	fmt.Printf("ok - amqp091-go: %s\n", what)
	return true
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go_client URL")
		os.Exit(2)
	}
	time.AfterFunc(deadline, func() {
		fmt.Printf("not ok - amqp091-go: still at work after %v\n", deadline)
		os.Exit(1)
	})
	var c *client
	if !attempt("connects", func() { c = connect(os.Args[1]) }) {
		os.Exit(1)
	}
	failed := false
	for _, check := range checks {
		if !attempt(check.what, func() { check.run(c) }) {
			failed = true
			if c.conn.IsClosed() || c.ch.IsClosed() {
				break
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}
