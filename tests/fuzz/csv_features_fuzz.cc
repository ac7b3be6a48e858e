// CSV text to predict from. The first byte chooses the options. What is accepted must have every
// feature of every row, and NaN only where that is allowed.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/data/table/csv_features.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  CsvFeatureOptions options;
  options.count = 1 + (data[0] & 3);
  if (data[0] & 4) {
    for (int64_t i = 0; i < options.count; ++i) options.names.emplace_back(1, "abcd"[i]);
  }
  if (data[0] & 8) options.label = int64_t{0};
  if (data[0] & 16) options.ignored.emplace_back(int64_t{1});
  options.allow_missing = (data[0] & 32) != 0;
  if (data[0] & 64) options.delimiter = ';';
  const Result<CsvFeatures> csv = ParseCsvFeatures(
      std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1), "fuzz.csv", options);
  if (!csv.ok()) {
    Require(csv.status().message().size() < 2000);
    Require(csv.status().message().find('\n') == std::string_view::npos);
    return 0;
  }
  Require(csv->rows > 0);
  Require(csv->x.size() == static_cast<size_t>(csv->rows * options.count));
  for (const float x : csv->x) Require(options.allow_missing || !std::isnan(x));
  return 0;
}
