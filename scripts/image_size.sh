#!/usr/bin/env bash
# image_size.sh IMAGE LIMIT: what makes up the size of the image, unpacked: packages and files, the biggest first. Fails
# when all of it is more than LIMIT bytes.
set -euo pipefail
image=$1 limit=$2

work=$(mktemp -d)
container=$(docker create --network none "$image")
trap 'docker rm -f "$container" >/dev/null; rm -rf "$work"' EXIT
mkdir "$work/root"
docker export "$container" | tar -C "$work/root" --no-same-owner -x
chmod -R u+rwX "$work/root"
cd "$work/root"
find . -type f -printf '%s %P\n' >"$work/files"

# Which package a file is of, the image itself says: lines "MD5  FILE" in status.d/NAME.md5sums.
shopt -s nullglob
for list in var/lib/dpkg/status.d/*.md5sums; do
  name=${list##*/}
  sed "s|^[0-9a-f]*  |${name%.md5sums} |" "$list"
done >"$work/owners"

echo "$image, by Debian package:"
awk 'NR == FNR {owner[$2] = $1; next}
     {name = $2 in owner ? owner[$2] : $2 ~ /^var\/lib\/dpkg\// ? "(metadata of packages)" : "(" $2 ")"; size[name] += $1}
     END {for (name in size) printf "%8.2f MB  %s\n", size[name] / 1e6, name}' "$work/owners" "$work/files" |
  sort -rn >"$work/packages"
awk '$1 >= 0.1; $1 < 0.1 {rest += $1; ++count} END {printf "%8.2f MB  %d others\n", rest, count}' "$work/packages"
echo "the biggest files:"
sort -rn "$work/files" | awk 'NR <= 10 {printf "%8.2f MB  %s\n", $1 / 1e6, $2}'
total=$(awk '{sum += $1} END {print sum + 0}' "$work/files")
awk -v total="$total" -v limit="$limit" 'BEGIN {printf "%8.2f MB  all; the limit is %.2f MB\n", total / 1e6, limit / 1e6}'
if ((total > limit)); then
  echo "image_size.sh: $image is too big: see the list above for what has grown" >&2
  exit 1
fi
