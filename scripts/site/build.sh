#!/usr/bin/env bash
# build.sh: builds the docs site into build/site, with the mkdocs of a virtual environment below build/, which it makes.
#   SITE_REPOSITORY   address of this repository's files: links to files that are no pages lead there (hooks.py)
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=build/site-venv
if ! cmp -s scripts/site/requirements.txt "$venv/requirements.txt"; then
  echo "installing mkdocs-material and what it needs into $venv (scripts/site/requirements.txt)"
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/site/requirements.txt
  cp scripts/site/requirements.txt "$venv/"
fi
NO_MKDOCS_2_WARNING=1 "$venv/bin/mkdocs" build --strict
echo "the docs site is in build/site: open build/site/index.html"
