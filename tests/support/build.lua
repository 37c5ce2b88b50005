--- build: the one that the specs run with (MR_BUILD_NAME; release, if it is not set).
-- SPDX-License-Identifier: MIT
local build = { name = os.getenv "MR_BUILD_NAME" or "release" }

build.is_release = build.name == "release"
build.is_asan, build.is_tsan = build.name == "asan", build.name == "tsan"
--- Everything takes longer, and memory that was freed is kept.
build.is_sanitized = build.is_asan or build.is_tsan

return build
