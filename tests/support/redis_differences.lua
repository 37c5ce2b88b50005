--- redis_differences: why a test of the contract does not run on redis://.
-- SPDX-License-Identifier: MIT
-- Each reason with a part of the point of docs/redis.md that says it: tests/spec/redis/differences_spec.lua compares them.
return {
   -- what Redis has not
   ["exchanges"] = "exchanges of type `headers`, alternate exchanges, bindings between exchanges",
   ["queue arguments"] = "queue arguments `x-message-ttl` and `x-expires` but for a queue that delays (above), `x-max-length`",
   ["CC"] = "the headers CC and BCC",
   ["if-empty"] = "deleting a queue only if it is empty",
   ["delaying queues"] = "binding a queue that delays",
   ["transactions"] = "transactions (`not_implemented`",
   ["options"] = "options of `mr.connect` for what stands in the URL",
   -- what is different without an error
   ["priorities"] = "**Priority 0 comes first**",
   ["a queue is a name"] = "A queue is a name:",
   ["topics"] = "Topic patterns are kombu's",
   ["fanout keys"] = "**Keys count**, as in kombu",
   ["headers"] = "**Headers are JSON**",
   ["delay"] = "A message of `publish { delay }` comes without an `x-death`",
   ["expiration"] = "A message whose `expiration` is over is dropped, or becomes a dead letter, when a Moonrabbit takes it",
   ["requeue"] = "A requeued message is the next one of its queue",
   ["one process"] = "Exclusive queues and consumers, and the priorities of consumers, are of one process",
   ["visibility timeout"] = "**What a dead process has taken** comes back after the visibility timeout",
   ["bindings"] = "A binding is its exchange, queue and key",
}
