/* process: writes what Linux says of this process, by the names that Prometheus' clients use.
 * SPDX-License-Identifier: MIT
 * Any thread. Reads /proc, which never blocks; a metric that it does not have is left out. */
#ifndef MR_HEALTH_PROCESS_H
#define MR_HEALTH_PROCESS_H

#include "health/page.h"

void mr_process_write(struct mr_page *p);

#endif
