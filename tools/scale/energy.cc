#include "tools/scale/energy.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <system_error>

namespace lockstep::inline v0_1::scale {
namespace {

namespace fs = std::filesystem;

std::optional<double> Number(const fs::path& path) {
  std::ifstream in(path);
  double number = 0.0;
  if (!(in >> number)) return std::nullopt;
  return number;
}

}  // namespace

// "intel-rapl:0" is a package, and "intel-rapl:0:1" a part of it that it counts already; "psys"
// counts the whole board, packages included. AMD's counters have the same names.
EnergyMeter::EnergyMeter(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("intel-rapl:") || std::count(name.begin(), name.end(), ':') != 1)
      continue;
    std::string kind;
    std::ifstream(entry.path() / "name") >> kind;
    if (!kind.starts_with("package")) continue;
    const fs::path counter = entry.path() / "energy_uj";
    if (!Number(counter)) continue;
    packages_.push_back({counter, Number(entry.path() / "max_energy_range_uj").value_or(0.0)});
  }
  Start();
}

void EnergyMeter::Start() {
  for (Package& package : packages_) package.start = Number(package.counter).value_or(0.0);
}

std::optional<double> EnergyMeter::Joules() const {
  if (packages_.empty()) return std::nullopt;
  double sum = 0.0;
  for (const Package& package : packages_) {
    const std::optional<double> now = Number(package.counter);
    if (!now) return std::nullopt;
    sum += *now - package.start + (*now < package.start ? package.range : 0.0);
  }
  return sum * 1e-6;
}

}  // namespace lockstep::scale
