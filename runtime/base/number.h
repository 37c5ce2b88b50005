/* number: numbers as text and back, whatever the locale: a host may have set one with a decimal comma.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_NUMBER_H
#define MR_BASE_NUMBER_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>

#define MR_NUMBER_SIZE 32 /* room for any of them, and the NUL */

/* The shortest of 14 to 17 digits that is the number; a point, never a comma. Infinities and NaN as printf has them. */
void mr_number_text(char out[MR_NUMBER_SIZE], double number);

/* This thread goes by the C locale until the end; for threads of ours, without an end. Never fails. */
locale_t mr_number_plain_begin(void);
void mr_number_plain_end(locale_t before);
/* snprintf, vsnprintf and strtod of the C locale: whatever has a fraction in it goes by these. */
int mr_number_format(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int mr_number_vformat(char *out, size_t size, const char *format, va_list args);
double mr_number_read(const char *text, char **end);

#endif
