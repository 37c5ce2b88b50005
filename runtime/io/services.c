/* services: what the I/O thread provides for links and health.
 * SPDX-License-Identifier: MIT */
#include "io/services.h"

mr_msec mr_services_tick(struct mr_services *s)
{
	s->clock = mr_clock_us();
	return (mr_msec)(s->clock / 1000);
}
