/* number: a double as text that reads back as the same, whatever the locale.
 * SPDX-License-Identifier: MIT */
#include "base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mr_number_text(char out[MR_NUMBER_SIZE], double number)
{
	for (int digits = 14; digits <= 17; digits++) {
		snprintf(out, MR_NUMBER_SIZE, "%.*g", digits, number);
		double back = strtod(out, NULL); /* by the same locale */
		if (memcmp(&back, &number, sizeof back) == 0) break;
	}
	/* What is no part of a number is the locale's decimal point, of one byte or of several. */
	char *point = out + strspn(out, "0123456789+-einfa");
	if (!*point) return;
	size_t size = strcspn(point, "0123456789e");
	*point = '.';
	memmove(point + 1, point + size, strlen(point + size) + 1);
}
