// A description of a table as it stands in a model. What is accepted can be written, read again,
// and laid out.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/data/table/table_features.h"
#include "engine/data/table/table_rows.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<TableDescription> description =
      TableDescriptionFrom(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!description.ok()) {
    Require(description.status().message().size() < 4000);
    Require(description.status().message().find('\n') == std::string::npos);
    return 0;
  }
  const Result<TableDescription> again = TableDescriptionFrom(ToJson(*description));
  Require(again.ok());
  Require(*again == *description);
  const FeatureLayout layout = LayoutOf(*description);
  Require(layout.size >= 0);
  Require(static_cast<int64_t>(FeatureNames(*description).size()) == layout.size);
  Require(RecordLayout::Of(*description).bytes >= 0);
  return 0;
}
