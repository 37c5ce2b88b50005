/* number: numbers as text and back, independent of the locale, which may have a decimal comma.
 * SPDX-License-Identifier: MIT */
#include "base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C library has this locale built in: it costs nothing, and is never freed. */
locale_t mr_number_plain_begin(void)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	return uselocale(plain); /* (locale_t)0, without memory, changes nothing */
}

void mr_number_plain_end(locale_t before) { uselocale(before); }

int mr_number_vformat(char *out, size_t size, const char *format, va_list args)
{
	locale_t before = mr_number_plain_begin();
	int n = vsnprintf(out, size, format, args);
	mr_number_plain_end(before);
	return n;
}

int mr_number_format(char *out, size_t size, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = mr_number_vformat(out, size, format, args);
	va_end(args);
	return n;
}

double mr_number_read(const char *text, char **end)
{
	locale_t before = mr_number_plain_begin();
	double number = strtod(text, end);
	mr_number_plain_end(before);
	return number;
}

void mr_number_text(char out[MR_NUMBER_SIZE], double number)
{
	for (int digits = 14; digits <= 17; digits++) {
		mr_number_format(out, MR_NUMBER_SIZE, "%.*g", digits, number);
		double back = mr_number_read(out, NULL);
		if (memcmp(&back, &number, sizeof back) == 0) break;
	}
}
