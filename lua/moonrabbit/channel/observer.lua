--- observer: who is told of each message that is settled: nobody, most of the time.
-- SPDX-License-Identifier: MIT
-- The message path pays for the look at one field; see console/monitor, which sets them all or none. None of them may wait or raise.
local observer = {}

--- fn(consumer, d, msg, how, flags, began, ok, a, b): a handler has ended, and its message is about to be settled so; how: nil: it is not.
observer.handled = false
--- fn(msg, d, how, flags) -> fn(): the program settles a message; the result is called if that succeeds.
observer.settling = false
--- fn(d): a delivery goes back that no handler has seen.
observer.unseen = false
--- fn(msg, what, info): the broker has a copy of the message: "retry", or "dead_letter"; info: delay, queue, error, reason.
observer.copied = false

return observer
