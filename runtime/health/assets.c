/* assets: the files of the page for browsers.
 * SPDX-License-Identifier: MIT */
#include "health/assets.h"

static const unsigned char html[] = {
#include "page_html.inc"
};
static const unsigned char css[] = {
#include "page_css.inc"
};
static const unsigned char js[] = {
#include "page_js.inc"
};
static const unsigned char svg[] = {
#include "page_svg.inc"
};

static const struct {
	const char *path, *type;
	const unsigned char *data;
	size_t size;
} assets[] = {/* each ends with a NUL */
	{"/", "text/html; charset=utf-8", html, sizeof html - 1},
	{"/page.css", "text/css; charset=utf-8", css, sizeof css - 1},
	{"/page.js", "text/javascript; charset=utf-8", js, sizeof js - 1},
	{"/page.svg", "image/svg+xml", svg, sizeof svg - 1}};

mr_slice mr_assets_find(mr_slice path, const char **type)
{
	for (size_t i = 0; i < sizeof assets / sizeof *assets; i++) {
		if (!mr_slice_equal(path, mr_slice_str(assets[i].path))) continue;
		*type = assets[i].type;
		return mr_slice_of((const char *)assets[i].data, assets[i].size);
	}
	return mr_slice_of(NULL, 0);
}
