#include "engine/train/sample_description.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/objective.h"
#include "engine/data/table/table_features.h"
#include "engine/data/text/tokenizer.h"
#include "engine/io/file.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr char kTask[] = "data.task", kInput[] = "data.input", kTarget[] = "data.target";
constexpr char kOutputs[] = "data.outputs", kFeatures[] = "data.features";
constexpr char kClasses[] = "data.classes", kVocabulary[] = "data.vocabulary";
constexpr char kPadded[] = "data.padded", kTokenizer[] = "data.tokenizer";
// More is a damaged or hostile file: a network for it could not be made anyway.
constexpr int64_t kMostValues = int64_t{1} << 28;
constexpr int64_t kMostClasses = int64_t{1} << 24;

std::string TextOf(const Shape& shape) {
  std::string text;
  for (const int64_t extent : shape.dims())
    text += (text.empty() ? "" : " ") + std::to_string(extent);
  return text;
}

// A safetensors file is UTF-8 throughout, a table need not be.
bool AllUtf8(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(), IsUtf8);
}
std::string Utf8(std::string name) {
  if (IsUtf8(name)) return name;
  for (char& c : name) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return name;
}

std::string ListOf(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names)
    text += (text.size() > 1 ? ", " : "") + JsonString(Utf8(name));
  return text + "]";
}

Status Damaged(const std::string& key, const std::string& text, const char* expected) {
  return Status::Corrupt("metadata " + Quoted(key) + " is " + Quoted(text) + ", expected " +
                         expected + "; use another file");
}

Result<std::string> Find(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found != metadata.end()) return found->second;
  return Status::NotFound("metadata " + Quoted(key) +
                          " is missing: the file does not say what its samples look like; save the "
                          "model again from its data");
}

Result<int64_t> NumberFrom(const std::string& key, std::string_view text, int64_t most) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= most)
    return number;
  return Damaged(key, std::string(text), "a whole number of at least 1");
}

Result<Shape> ShapeFrom(const Metadata& metadata, const std::string& key) {
  LOCKSTEP_TRY_ASSIGN(const std::string text, Find(metadata, key));
  std::vector<int64_t> extents;
  int64_t size = 1;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    LOCKSTEP_TRY_ASSIGN(
        const int64_t extent,
        NumberFrom(key, std::string_view(text).substr(begin, end - begin), kMostValues / size));
    size *= extent;
    extents.push_back(extent);
    begin = end + 1;
  }
  if (extents.size() >= Shape::kMaxRank) return Damaged(key, text, "fewer extents");
  return Shape(std::span<const int64_t>(extents));
}

Result<std::vector<std::string>> NamesFrom(const Metadata& metadata, const std::string& key,
                                           int64_t count) {
  std::vector<std::string> names;
  const auto found = metadata.find(key);
  if (found == metadata.end()) return names;
  const auto list = nlohmann::json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  const bool fits = list.is_array() && list.size() == static_cast<size_t>(count);
  for (size_t i = 0; fits && i < list.size(); ++i) {
    if (list[i].is_string()) names.push_back(list[i].get<std::string>());
  }
  if (names.size() != static_cast<size_t>(count)) {
    return Damaged(key, found->second, "a JSON list with a name for each");
  }
  return names;
}

// Of samples that are tokens.
Status ReadTokens(const Metadata& metadata, DatasetInfo& samples) {
  LOCKSTEP_TRY_ASSIGN(const std::string vocabulary, Find(metadata, kVocabulary));
  LOCKSTEP_TRY_ASSIGN(samples.vocabulary, NumberFrom(kVocabulary, vocabulary, kMostValues));
  samples.x_dtype = DType::kI32;
  if (const auto padded = metadata.find(kPadded); padded != metadata.end()) {
    if (padded->second != "1") return Damaged(kPadded, padded->second, "1");
    samples.padded = true;
  }
  const auto tokenizer = metadata.find(kTokenizer);
  if (tokenizer == metadata.end()) return Status::Ok();
  Result<std::shared_ptr<const Tokenizer>> read = TokenizerFrom(tokenizer->second);
  if (!read.ok()) return read.status().At("metadata " + Quoted(kTokenizer));
  samples.tokenizer = std::move(read).value();
  if (samples.tokenizer->size() <= samples.vocabulary) return Status::Ok();
  return Damaged(kVocabulary, vocabulary, "at least the tokens of the tokenizer beside it");
}

// Of samples that are rows of a table.
Status ReadTable(const Metadata& metadata, DatasetInfo& samples) {
  Result<TableDescription> table = TableDescriptionFrom(metadata.find(kTableMetadata)->second);
  if (!table.ok()) return table.status().At("metadata " + Quoted(kTableMetadata));
  const bool fits = LayoutOf(*table).size == samples.x_shape.size() &&
                    table->task == samples.task && table->target() >= 0;
  if (!fits) return Damaged(kTableMetadata, "...", "the table that the samples are of");
  DescribeSamples(std::make_shared<const TableDescription>(std::move(*table)), samples);
  return Status::Ok();
}

}  // namespace

Metadata MetadataOf(const DatasetInfo& samples) {
  Metadata metadata = {{kTask, ObjectiveOf(samples.task).name}};
  metadata[kInput] = TextOf(samples.x_shape);
  metadata[kTarget] = TextOf(samples.target_shape);
  if (samples.task == Task::kClasses) metadata[kOutputs] = std::to_string(samples.classes);
  // Features are found again by name: better by place than by a name that was changed.
  if (!samples.feature_names.empty() && AllUtf8(samples.feature_names))
    metadata[kFeatures] = ListOf(samples.feature_names);
  if (samples.x_dtype == DType::kI32) {
    metadata[kVocabulary] = std::to_string(samples.vocabulary);
    if (samples.padded) metadata[kPadded] = "1";
    if (samples.tokenizer != nullptr) metadata[kTokenizer] = samples.tokenizer->Description();
  }
  if (samples.table != nullptr) metadata[kTableMetadata] = ToJson(*samples.table);
  if (!samples.class_names.empty()) metadata[kClasses] = ListOf(samples.class_names);
  return metadata;
}

Result<DatasetInfo> DatasetInfoFrom(const Metadata& metadata) {
  DatasetInfo samples;
  LOCKSTEP_TRY_ASSIGN(const std::string task, Find(metadata, kTask));
  const Objective* const objective = ObjectiveNamed(task);
  if (objective == nullptr) return Damaged(kTask, task, "binary, classes or regression");
  samples.task = objective->task;
  samples.target_dtype = objective->target_dtype;
  LOCKSTEP_TRY_ASSIGN(samples.x_shape, ShapeFrom(metadata, kInput));
  if (samples.x_shape.rank() == 0) return Damaged(kInput, "", "at least one extent");
  LOCKSTEP_TRY_ASSIGN(samples.target_shape, ShapeFrom(metadata, kTarget));
  if (samples.task == Task::kClasses) {
    LOCKSTEP_TRY_ASSIGN(const std::string outputs, Find(metadata, kOutputs));
    LOCKSTEP_TRY_ASSIGN(samples.classes, NumberFrom(kOutputs, outputs, kMostClasses));
  }
  if (metadata.contains(kVocabulary)) LOCKSTEP_TRY(ReadTokens(metadata, samples));
  LOCKSTEP_TRY_ASSIGN(samples.feature_names,
                      NamesFrom(metadata, kFeatures, samples.x_shape.channels()));
  LOCKSTEP_TRY_ASSIGN(samples.class_names, NamesFrom(metadata, kClasses, ClassCount(samples)));
  if (metadata.contains(kTableMetadata)) LOCKSTEP_TRY(ReadTable(metadata, samples));
  return samples;
}

}  // namespace lockstep
