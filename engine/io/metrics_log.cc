#include "engine/io/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <unordered_set>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

std::string HeaderOf(const std::vector<std::string>& columns) {
  std::string header = "epoch,step";
  for (const auto& column : columns) header += "," + column;
  return header + "\n";
}

Status CheckColumns(const std::vector<std::string>& columns) {
  std::unordered_set<std::string_view> names = {"epoch", "step"};
  for (const auto& column : columns) {
    const bool plain =
        !column.empty() && IsUtf8(column) && column.find_first_of(",\"\r\n\t") == std::string::npos;
    if (!plain || !names.insert(column).second) {
      return Status::Invalid("a column of the metrics cannot be named " + Quoted(column) +
                             "; names are unique and without commas, quotes and line breaks");
    }
  }
  return Status::Ok();
}

// The step of a row, if it is one: "EPOCH,STEP,..." or {"epoch":EPOCH,"step":STEP,...}.
std::optional<int64_t> StepOf(std::string_view row, std::string_view before_epoch,
                              std::string_view before_step) {
  for (const std::string_view before : {before_epoch, before_step}) {
    if (!row.starts_with(before)) return std::nullopt;
    row.remove_prefix(before.size());
    int64_t number;
    const auto [end, error] = std::from_chars(row.data(), row.data() + row.size(), number);
    if (error != std::errc()) return std::nullopt;
    row.remove_prefix(static_cast<size_t>(end - row.data()));
    if (before == before_step) return number;
  }
  return std::nullopt;
}

// The finished rows of `content` up to `step`, each with `more` at its end.
std::string RowsUpTo(std::string_view content, int64_t step, std::string_view before_epoch,
                     std::string_view before_step, std::string_view more = "") {
  std::string kept;
  while (true) {
    const size_t end = content.find('\n');
    if (end == std::string_view::npos) return kept;
    const std::optional<int64_t> at = StepOf(content.substr(0, end), before_epoch, before_step);
    if (at && *at <= step) kept.append(content.substr(0, end)).append(more).append("\n");
    content.remove_prefix(end + 1);
  }
}

Result<std::string> ReadIfThere(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::string();
  return ReadFile(path);
}

// One row, or nothing of it.
Status AppendRow(int fd, const std::string& path, const std::string& row) {
  const off_t before = lseek(fd, 0, SEEK_END);
  const int error = WriteAll(fd, std::as_bytes(std::span(row)));
  if (error == 0) return Status::Ok();
  // Should this fail too, the row stays unfinished; Resume drops such rows.
  [[maybe_unused]] const int result = ftruncate(fd, before);
  return FileError(path, "write", error);
}

Status OpenForAppending(const std::string& path, int flags, int& fd) {
  do {
    fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd < 0 ? FileError(path, "write", errno) : Status::Ok();
}

}  // namespace

MetricsLog::MetricsLog(std::string folder, std::vector<std::string> columns)
    : csv_path_(folder + "/metrics.csv"),
      jsonl_path_(folder + "/metrics.jsonl"),
      columns_(std::move(columns)) {}

MetricsLog::MetricsLog(MetricsLog&& other) noexcept
    : csv_path_(std::move(other.csv_path_)),
      jsonl_path_(std::move(other.jsonl_path_)),
      columns_(std::move(other.columns_)),
      csv_(std::exchange(other.csv_, -1)),
      jsonl_(std::exchange(other.jsonl_, -1)) {}

MetricsLog::~MetricsLog() {
  if (csv_ >= 0) close(csv_);
  if (jsonl_ >= 0) close(jsonl_);
}

Result<MetricsLog> MetricsLog::Start(const std::string& folder, std::vector<std::string> columns) {
  LOCKSTEP_TRY(CheckColumns(columns));
  MetricsLog log(folder, std::move(columns));
  LOCKSTEP_TRY(OpenForAppending(log.csv_path_, O_CREAT | O_TRUNC, log.csv_));
  LOCKSTEP_TRY(OpenForAppending(log.jsonl_path_, O_CREAT | O_TRUNC, log.jsonl_));
  LOCKSTEP_TRY(AppendRow(log.csv_, log.csv_path_, HeaderOf(log.columns_)));
  return log;
}

Result<MetricsLog> MetricsLog::Resume(const std::string& folder, std::vector<std::string> columns,
                                      int64_t step) {
  LOCKSTEP_TRY(CheckColumns(columns));
  MetricsLog log(folder, std::move(columns));
  LOCKSTEP_TRY_ASSIGN(const std::string csv, ReadIfThere(log.csv_path_));
  const std::string header = HeaderOf(log.columns_);
  const size_t end = csv.find('\n');
  std::string more;  // a comma for each column that is new
  // A header that was being written when the process was killed counts as missing.
  if (end != std::string::npos) {
    const std::string before = csv.substr(0, end), now = header.substr(0, header.size() - 1);
    if (!(now + ",").starts_with(before + ",")) {
      return Status::Invalid(log.csv_path_ + ": has other columns (" + Quoted(before) +
                             ") than this run (" + Quoted(now) + "); use another run folder");
    }
    more.assign(static_cast<size_t>(std::count(now.begin() + std::ssize(before), now.end(), ',')),
                ',');
  }
  const std::string kept_csv = header + RowsUpTo(csv, step, "", ",", more);
  if (kept_csv != csv) LOCKSTEP_TRY(WriteFileAtomically(log.csv_path_, kept_csv));

  LOCKSTEP_TRY_ASSIGN(const std::string jsonl, ReadIfThere(log.jsonl_path_));
  const std::string kept_jsonl = RowsUpTo(jsonl, step, "{\"epoch\":", ",\"step\":");
  if (kept_jsonl != jsonl || jsonl.empty()) {
    LOCKSTEP_TRY(WriteFileAtomically(log.jsonl_path_, kept_jsonl));
  }
  LOCKSTEP_TRY(OpenForAppending(log.csv_path_, 0, log.csv_));
  LOCKSTEP_TRY(OpenForAppending(log.jsonl_path_, 0, log.jsonl_));
  return log;
}

Status MetricsLog::Append(int64_t epoch, int64_t step, std::span<const MetricValue> values) {
  const std::string epoch_text = std::to_string(epoch), step_text = std::to_string(step);
  std::string csv = epoch_text + "," + step_text;
  std::string json = "{\"epoch\":" + epoch_text + ",\"step\":" + step_text;
  size_t used = 0;
  for (const auto& column : columns_) {
    csv += ',';
    for (const auto& [name, value] : values) {
      if (name != column) continue;
      ++used;
      const std::string text = TextOf(value);
      csv += text;
      json += "," + JsonString(column) + ":" + (std::isfinite(value) ? text : "null");
      break;
    }
  }
  if (used != values.size()) {
    std::string names;
    for (const auto& value : values) names += (names.empty() ? "" : ", ") + std::string(value.name);
    return Status::Invalid(csv_path_ +
                           ": a value is given twice or has no column: " + Quoted(names));
  }
  LOCKSTEP_TRY(AppendRow(csv_, csv_path_, csv + "\n"));
  return AppendRow(jsonl_, jsonl_path_, json + "}\n");
}

}  // namespace lockstep
