/* ngx_mr_show: text of others in a line of the log.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

ngx_str_t ngx_mr_show(const ngx_str_t *text, u_char buffer[NGX_MR_SHOWN])
{
	ngx_str_t out = {0, buffer};
	ngx_uint_t is_second = 0; /* of U+0080 to U+009F: controls, too */
	for (size_t i = 0; i < text->len && out.len < NGX_MR_SHOWN; i++) {
		u_char c = text->data[i];
		ngx_uint_t is_control = c < 0x20 || c == 0x7f || (is_second && c < 0xa0);
		is_second = c == 0xc2;
		buffer[out.len++] = is_control || c == '"' ? '?' : c;
	}
	return out;
}
