// The energy that the processors of this machine have taken: RAPL's counters, as Linux shows them
// under /sys/class/powercap. Root alone may read them on most systems, and virtual machines have
// none.
#ifndef LOCKSTEP_TOOLS_SCALE_ENERGY_H_
#define LOCKSTEP_TOOLS_SCALE_ENERGY_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace lockstep::inline v0_1::scale {

class EnergyMeter {
 public:
  // `folder`: other than the system's in tests.
  explicit EnergyMeter(const std::filesystem::path& folder = "/sys/class/powercap");

  bool available() const { return !packages_.empty(); }
  // Joules of all packages since Start; nothing where they cannot be read. Counters that have
  // wrapped around once since then are taken as such: they do it within minutes, so a stretch is to
  // be shorter.
  void Start();
  std::optional<double> Joules() const;

 private:
  struct Package {
    std::filesystem::path counter;
    double range = 0.0;  // microjoules, at which it begins at 0 again
    double start = 0.0;
  };
  std::vector<Package> packages_;
};

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_ENERGY_H_
