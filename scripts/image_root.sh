#!/usr/bin/env bash
# image_root.sh ROOT PROGRAM...: makes ROOT the root file system of an image; a stage of the Dockerfile runs it. It has the
# programs in its root, exactly the shared libraries that they need, the certificate authorities that everybody trusts, and
# the user 65532. It has no shell and no package manager. Of each Debian package that a file comes from it has the
# metadata (in /var/lib/dpkg/status.d, as distroless images, so that scanners know the package) and the licence.
set -euo pipefail
root=$1
shift
trusted=/etc/ssl/certs  # one file of all authorities for libcurl, and a file for each, for the check of an https proxy
umask 022

fail() {
  echo "image_root.sh: $*" >&2
  exit 1
}

declare -A owner=()  # of each file of ROOT, without its first slash: the package, with its architecture

# package_of PATH: a library that was installed to /lib before /lib became a link is known by that name.
package_of() {
  local name
  for name in "$1" "${1#/usr}"; do
    if name=$(dpkg-query -S "$name" 2>/dev/null | grep -v '^diversion ' | head -n 1) && [[ -n $name ]]; then
      name=${name%%: /*}
      echo "${name%%,*}"
      return
    fi
  done
  return 1
}

# take PATH: PATH into ROOT; when it is a link, what it points to as well.
take() {
  local path package
  path=$(realpath "$(dirname "$1")")/$(basename "$1")
  [[ -z ${owner[${path#/}]:-} ]] || return 0
  package=$(package_of "$path") || fail "no package has $path: then nobody says when it has a vulnerability"
  owner[${path#/}]=$package
  mkdir -p "$root$(dirname "$path")"
  cp -P --preserve=mode,timestamps "$path" "$root$path"
  [[ ! -L $path ]] || take "$(realpath -s "$(dirname "$path")/$(readlink "$path" | sed 's|^/|../../../../../../&|')")"
}

rm -rf "$root"
mkdir -p "$root/usr"
for folder in lib lib64; do  # links to usr/ in every Debian since 12
  [[ ! -L /$folder ]] || cp -P "/$folder" "$root/$folder"
done
install -m 755 "$@" "$root/"

needed=$(ldd "$@")
[[ $needed != *"not found"* ]] || fail "not all libraries are found: $needed"
mapfile -t libraries < <(awk '/^\t\// {print $1} $2 == "=>" {print $3}' <<<"$needed" | sort -u)
((${#libraries[@]} > 5)) || fail "ldd names ${#libraries[@]} libraries: $needed"
for library in "${libraries[@]}"; do
  take "$library"
done

take /etc/os-release  # tells scanners which release these packages are of
for licence in /usr/share/common-licenses/*; do  # to which the packages' own texts refer
  take "$licence"
done

[[ -s $trusted/ca-certificates.crt ]] || fail "there is no $trusted/ca-certificates.crt: install ca-certificates"
mkdir -p "$root$trusted"
for authority in "$trusted"/ca-certificates.crt "$trusted"/*.[0-9]; do
  cp -L --preserve=mode,timestamps "$authority" "$root$trusted/"
  owner[${authority#/}]=ca-certificates
done

printf '%s\n' root:x:0:0:root:/:/sbin/nologin nonroot:x:65532:65532:nonroot:/:/sbin/nologin >"$root/etc/passwd"
printf '%s\n' root:x:0: nonroot:x:65532: >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"

# A licence may itself be a file of another package: until there is no new one.
declare -A described=()
status=$root/var/lib/dpkg/status.d
mkdir -p "$status"
while :; do
  mapfile -t packages < <(printf '%s\n' "${owner[@]}" | sort -u)
  ((${#packages[@]} > ${#described[@]})) || break
  for package in "${packages[@]}"; do
    [[ -z ${described[$package]:-} ]] || continue
    described[$package]=1
    name=${package%%:*}
    dpkg-query -s "$package" >"$status/$name"
    licence=/usr/share/doc/$name/copyright
    [[ -e $licence ]] || fail "$package has no $licence, which has to come with its files"
    take "$licence"
    if [[ -L /usr/share/doc/$name ]]; then  # the folder of another package
      cp -P "/usr/share/doc/$name" "$root/usr/share/doc/$name"
    fi
  done
done
for file in "${!owner[@]}"; do
  [[ -L $root/$file ]] || (cd "$root" && md5sum "$file") >>"$status/$(sed 's/:.*//' <<<"${owner[$file]}").md5sums"
done
for list in "$status"/*.md5sums; do
  sort -k 2 -o "$list" "$list"
done
echo "image_root.sh: ${#libraries[@]} libraries, ${#described[@]} packages, $(du -sb "$root" | cut -f 1) bytes"
