/* number: numbers as text and back, independent of the locale, which may have a decimal comma.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_NUMBER_H
#define MR_BASE_NUMBER_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>

#define MR_NUMBER_SIZE 32 /* room for any number and the NUL */

/* The shortest text of 14 to 17 digits that reads back as the number; with a point, never a comma.
 * Infinities and NaN as in printf. */
void mr_number_text(char out[MR_NUMBER_SIZE], double number);

/* Selects the C locale for this thread until mr_number_plain_end; the library's threads never call that.
 * Never fails. */
locale_t mr_number_plain_begin(void);
void mr_number_plain_end(locale_t before);
/* snprintf, vsnprintf and strtod in the C locale: use these for all numbers with a fraction. */
int mr_number_format(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int mr_number_vformat(char *out, size_t size, const char *format, va_list args);
double mr_number_read(const char *text, char **end);

#endif
