#include "models/testing/report.h"

#include <algorithm>
#include <exception>

namespace lockstep::inline v0_1::checks {

bool CheckReport::Failed(const std::string& check) const {
  return std::any_of(findings.begin(), findings.end(),
                     [&](const Finding& finding) { return finding.check == check; });
}

std::string CheckReport::ToString() const {
  std::string text;
  for (const Finding& finding : findings) text += finding.check + ": " + finding.what + "\n";
  return text;
}

Status CheckReport::status() const { return ok() ? Status::Ok() : Status::Invalid(ToString()); }

void CheckLog::Make(const std::string& check, const std::string& where,
                    const std::function<std::string()>& body) {
  const auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), check) != names.end();
  };
  if (has(options_.leave_out)) return;
  if (!has(report_.done)) report_.done.push_back(check);
  std::string what;
  try {
    what = body();
  } catch (const std::exception& failure) {
    what = std::string("an exception: ") + failure.what();
  }
  if (!what.empty()) report_.findings.push_back({check, where + ": " + what});
}

std::string TextOf(const Result<std::string>& result) {
  return result.ok() ? *result : result.status().message();
}

}  // namespace lockstep::checks
