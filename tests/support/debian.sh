# debian.sh: a new, minimal Debian 12 in a folder, for scripts that source this with `root` and `dir` set.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# own_mounts SCRIPT ARG...    first: goes on as SCRIPT in a mount namespace of its own, where that is possible
# make_base                   the minimal system, as a tar; made anew after a week
# make_system NAME            unpacks it into DIR/NAME, with what was downloaded before
# within COMMAND...           runs a command there;  check TITLE COMMAND...  prints "ok - TITLE" or "not ok - TITLE"
# keep_archives, remove_system
suite=bookworm
failed=0

leave_out() {
	echo "$*"
	exit 77
}

[ "$(id -u)" -eq 0 ] || leave_out "needs root, for chroot"
command -v debootstrap >/dev/null || leave_out "needs the package debootstrap"

own_mounts() {
	if [ -z "${MR_BARE_MOUNTS:-}" ] && unshare --mount true 2>/dev/null; then
		MR_BARE_MOUNTS=yes exec unshare --mount --propagation private sh "$@"
	fi
}

# The mirror that apt uses on this machine, if it has one for this suite; else debootstrap's own choice.
mirror() {
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v suite="$suite" '$1 == suite && $2 == "main" { print $3; exit }'
}

make_base() {
	exec 8>"$dir/lock" # two scripts may want it
	flock 8
	make_base_alone 8>&-
	exec 8>&-
}

make_base_alone() {
	find "$dir" -maxdepth 1 -name 'base.tar' -mtime +7 -delete
	[ -f "$dir/base.tar" ] && return 0
	rm -rf "$dir/base" "$dir/archives"
	# shellcheck disable=SC2046 # a URL or nothing
	debootstrap --variant=minbase "$suite" "$dir/base" $(mirror) >"$dir/debootstrap.log" 2>&1 || {
		tail -n 5 "$dir/debootstrap.log"
		rm -rf "$dir/base"
		leave_out "debootstrap made no system, see $dir/debootstrap.log (is the packages' mirror within reach?)"
	}
	tar -C "$dir/base" -cf "$dir/base.tar.new" .
	mv "$dir/base.tar.new" "$dir/base.tar"
	rm -rf "$dir/base"
}

# What a copy of the repository holds: what git would commit, or, without git, all but builds.
copy_repository() { # TO
	mkdir -p "$1"
	if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$root" && git ls-files --cached --others --exclude-standard | while read -r file; do
			[ ! -e "$file" ] || echo "$file"
		done | tar -cf - -T -) | tar -xf - -C "$1"
	else
		tar -C "$root" --exclude=./.build --exclude=./.git -cf - . | tar -xf - -C "$1"
	fi
}

make_system() { # NAME
	system=$dir/$1
	rm -rf "$system"
	mkdir -p "$system" "$dir/archives"
	tar -C "$system" -xf "$dir/base.tar"
	cp /etc/resolv.conf "$system/etc/resolv.conf"
	if [ -n "${MR_BARE_MOUNTS:-}" ]; then
		mount -t proc proc "$system/proc"
		mount -t tmpfs tmpfs "$system/dev/shm" 2>/dev/null || :
	fi
	cp -p "$dir"/archives/*.deb "$system/var/cache/apt/archives/" 2>/dev/null || :
	apt-config dump Acquire >"$system/etc/apt/apt.conf.d/99outside" # such as a proxy
	echo 'Binary::apt::APT::Keep-Downloaded-Packages "true"; APT::Keep-Downloaded-Packages "true";' \
		>"$system/etc/apt/apt.conf.d/99keep"
	rm -f "$system/etc/apt/apt.conf.d/docker-clean"
	echo force-unsafe-io >"$system/etc/dpkg/dpkg.cfg.d/99quick" # a machine that fails fails with it
}

keep_archives() {
	find "$system/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec cp -pu {} "$dir/archives/" \;
}

# within COMMAND...: in the system, with nothing of this machine's environment but its proxy.
within() {
	# shellcheck disable=SC2086 # a word or none
	chroot "$system" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		LC_ALL=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} ${CI:+CI="$CI"} "$@" </dev/null
}

check() { # TITLE COMMAND...: its output is shown when it fails
	title=$1
	shift
	if "$@" >"$dir/out" 2>&1; then
		echo "ok - $title"
	else
		sed 's/^/# /' "$dir/out" | tail -n 60
		echo "not ok - $title"
		failed=1
	fi
}

remove_system() {
	[ -z "${MR_BARE_MOUNTS:-}" ] || umount "$system/dev/shm" "$system/proc" 2>/dev/null || :
	rm -rf "$system"
}
