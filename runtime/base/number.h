/* number: a double as text that reads back as the same, whatever the locale.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_NUMBER_H
#define MR_BASE_NUMBER_H

#include <stddef.h>

#define MR_NUMBER_SIZE 32 /* room for any of them, and the NUL */

/* The shortest of 14 to 17 digits that is the number; a point, never a comma. Infinities and NaN as printf has them. */
void mr_number_text(char out[MR_NUMBER_SIZE], double number);

#endif
