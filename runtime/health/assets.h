/* assets: the files of the page for browsers.
 * SPDX-License-Identifier: MIT
 * Pure. They are in runtime/health/page/, and CMakeLists.txt writes them into the library. */
#ifndef MR_HEALTH_ASSETS_H
#define MR_HEALTH_ASSETS_H

#include "base/slice.h"

/* *type receives its content type, a literal. An empty slice: there is no such file. */
mr_slice mr_assets_find(mr_slice path, const char **type);

#endif
