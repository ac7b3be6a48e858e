// CSV text. The first byte chooses the options. What is accepted must have a target and features
// for every sample.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/data/table/csv.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  CsvOptions options;
  options.header = static_cast<CsvOptions::Header>((data[0] & 3) % 3);
  options.on_missing = static_cast<CsvOptions::Missing>((data[0] >> 2 & 3) % 3);
  options.task = static_cast<Task>((data[0] >> 4 & 3) % 3);
  if (data[0] & 64) options.label = int64_t{0};
  if (data[0] & 128) options.delimiter = ';';
  const Result<CsvData> csv = ParseCsv(
      std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1), "fuzz.csv", options);
  if (!csv.ok()) {
    Require(csv.status().message().size() < 2000);
    Require(csv.status().message().find('\n') == std::string::npos);
    return 0;
  }
  Require(csv->dataset != nullptr);
  Require(csv->dataset->size() > 0);
  return 0;
}
