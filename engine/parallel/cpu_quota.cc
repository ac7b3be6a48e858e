#include "engine/parallel/cpu_quota.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

// Whether `list`, names with commas between them, holds "cpu".
bool NamesCpu(std::string_view list) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == "cpu") return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// Blanks and backslashes stand in mountinfo as \ooo, octal.
std::string Unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && text.size() - i >= 4 &&
        std::from_chars(&text[i + 1], &text[i + 1] + 3, code, 8).ptr == &text[i + 1] + 3) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// quota / period where both are numbers above zero, else infinity ("max", -1).
double Cpus(std::string_view quota, std::string_view period) {
  double numbers[2] = {};
  const std::string_view texts[2] = {quota, period};
  for (int i = 0; i < 2; ++i) {
    const std::string_view text = texts[i];
    std::from_chars(text.data(), text.data() + text.size(), numbers[i]);
    if (!(numbers[i] > 0.0)) return HUGE_VAL;
  }
  return numbers[0] / numbers[1];
}

std::string FirstWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

double QuotaOf(const std::string& folder) {
  std::string quota, period;
  std::ifstream v2(folder + "/cpu.max");
  v2 >> quota >> period;
  return std::min(Cpus(quota, period), Cpus(FirstWord(folder + "/cpu.cfs_quota_us"),
                                            FirstWord(folder + "/cpu.cfs_period_us")));
}

// One hierarchy of groups as it is mounted here: the folder `point` shows the group `top`.
struct Mount {
  bool v2 = false;
  std::string top, point;
};

// Those that may hold quotas.
std::vector<Mount> Mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // 36 35 0:30 /top /point options [tags] - type source options
    std::istringstream words(line);
    std::string skipped, top, point, word, type, options;
    words >> skipped >> skipped >> skipped >> top >> point;
    while (words >> word && word != "-") continue;
    words >> type >> skipped >> options;
    const bool v2 = type == "cgroup2";
    if (v2 || (type == "cgroup" && NamesCpu(options)))
      mounts.push_back({v2, Unescaped(top), Unescaped(point)});
  }
  return mounts;
}

// Where the mount shows a group: its folder, or none where the group is not below what is mounted.
std::optional<std::string> FolderOf(const Mount& mount, const std::string& group) {
  const std::string top = mount.top == "/" ? "" : mount.top;
  if (group == mount.top) return mount.point;
  if (group.compare(0, top.size() + 1, top + "/") != 0 || group.find("/..") != std::string::npos)
    return std::nullopt;
  return mount.point + group.substr(top.size());
}

}  // namespace

double CpuQuota(const std::string& root) {
  double least = HUGE_VAL;
  const std::vector<Mount> mounts = Mounts(root);
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    // 4:cpu,cpuacct:/group of v1, 0::/group of v2
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    for (const Mount& mount : mounts) {
      if (mount.v2 ? !controllers.empty() : !NamesCpu(controllers)) continue;
      const std::optional<std::string> own = FolderOf(mount, line.substr(second + 1));
      if (!own) continue;
      std::string folder = *own;
      for (; folder.size() > mount.point.size(); folder.erase(folder.rfind('/')))
        least = std::min(least, QuotaOf(root + folder));
      least = std::min(least, QuotaOf(root + mount.point));
    }
  }
  return least;
}

}  // namespace lockstep
