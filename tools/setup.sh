# Sourced by tools/demo and tools/test: installs what a build needs, configures, builds. Bash; nothing but what a
# minimal Debian holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }
die() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

# Debian packages that a build of the library and the program needs.
build_packages=(cmake g++ ninja-build libhwy-dev libtbb-dev zlib1g-dev libpng-dev libjpeg-dev nlohmann-json3-dev libtomlplusplus-dev
  libcli11-dev libfmt-dev libjs-chart.js)

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# The command that makes a package superfluous, whoever installed it. Libraries have none.
have_command_of() {
  case $1 in
    g++) command -v "${CXX:-c++}" >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    cmake | pkg-config) command -v "$1" >/dev/null ;;
    *) false ;;
  esac
}

# install_missing PACKAGE...: says what is missing and installs it.
install_missing() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die "this system has no apt-get: install what Debian calls $* and run $0 --no-install"
  local missing=() package
  for package in "$@"; do
    have_command_of "$package" || installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "missing packages: run 'apt-get install ${missing[*]}' as root, then $0 again"
    as_root=(sudo)
  fi
  say "installing with apt-get: ${missing[*]}"
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "${missing[@]}")
  # Fresh machines have no package lists, others old ones: they are fetched when the first attempt shows the need.
  local log
  log=$(mktemp)
  if ! "${install[@]}" >"$log" 2>&1; then
    "${as_root[@]}" apt-get update -qq >"$log" 2>&1 || true
    if ! "${install[@]}" >"$log" 2>&1; then
      tail -n 20 "$log" >&2
      rm -f "$log"
      die "apt-get could not install ${missing[*]}"
    fi
  fi
  rm -f "$log"
}

# configure PRESET [CMAKE ARGUMENT...]
configure() {
  local preset=$1
  shift
  say "configuring build/$preset"
  command -v cmake >/dev/null || die "there is no cmake: run $0 without --no-install, or install CMake 3.25 or newer"
  local arguments=(--preset "$preset" "$@")
  # A folder that has been configured keeps its generator.
  [[ -e build/$preset/CMakeCache.txt ]] || ! command -v ninja >/dev/null || arguments+=(-G Ninja)
  cmake "${arguments[@]}" || die "cmake could not configure build/$preset; on Debian this needs ${packages[*]}"
}

# build PRESET [CMAKE BUILD ARGUMENT...]
build() {
  local preset=$1 start=$SECONDS
  shift
  say "building build/$preset with $(nproc) jobs"
  cmake --build "build/$preset" --parallel "$(nproc)" "$@" || die "the build failed, see above"
  say "built in $((SECONDS - start)) s"
}
