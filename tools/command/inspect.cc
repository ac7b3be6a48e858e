#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/npy.h"
#include "engine/io/safetensors.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Of the finite values; rms is the square root of the mean square.
struct Summary {
  int64_t finite = 0, nans = 0, infinities = 0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  long double sum = 0.0L, squares = 0.0L;  // the square of a double may exceed every double

  void Add(double value) {
    if (std::isnan(value)) {
      ++nans;
    } else if (std::isinf(value)) {
      ++infinities;
    } else {
      ++finite;
      min = std::min(min, value);
      max = std::max(max, value);
      sum += value;
      squares += static_cast<long double>(value) * value;
    }
  }
  double mean() const { return static_cast<double>(sum / static_cast<long double>(finite)); }
  double rms() const {
    return static_cast<double>(std::sqrt(squares / static_cast<long double>(finite)));
  }
};

Result<Summary> Summarize(const StoredTensor& tensor) {
  constexpr int64_t kRun = 4096;
  const auto size = static_cast<int64_t>(SizeOf(tensor.type));
  std::vector<double> values(kRun);
  Summary summary;
  for (int64_t begin = 0; begin < tensor.shape.size(); begin += kRun) {
    const Shape run{std::min(kRun, tensor.shape.size() - begin)};
    const auto bytes = tensor.data.subspan(static_cast<size_t>(begin * size),
                                           static_cast<size_t>(run.size() * size));
    LOCKSTEP_TRY(
        ConvertInto(StoredTensor("", tensor.type, run, bytes), Tensor(values.data(), run)));
    for (int64_t i = 0; i < run.size(); ++i) summary.Add(values[static_cast<size_t>(i)]);
  }
  return summary;
}

// Text from a file as it may be printed: on one line, without control characters, not too long.
std::string Plain(const std::string& text) {
  const std::string quoted = Quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

Status PrintTensors(std::span<const StoredTensor> tensors) {
  size_t name_width = 4, shape_width = 5;
  for (const StoredTensor& tensor : tensors) {
    name_width = std::max(name_width, Plain(tensor.name).size());
    shape_width = std::max(shape_width, tensor.shape.ToString().size());
  }
  fmt::print("{:<{}}  {:<7}  {:<{}}  {:>11}  {:>11}  {:>11}  {:>11}  {:>6}  {:>6}\n", "name",
             name_width, "type", "shape", shape_width, "min", "mean", "max", "rms", "NaN", "inf");
  for (const StoredTensor& tensor : tensors) {
    LOCKSTEP_TRY_ASSIGN(const Summary summary, Summarize(tensor));
    fmt::print("{:<{}}  {:<7}  {:<{}}", Plain(tensor.name), name_width, NameOf(tensor.type),
               tensor.shape.ToString(), shape_width);
    const bool any = summary.finite > 0;
    for (const double value :
         {summary.min, any ? summary.mean() : 0.0, summary.max, any ? summary.rms() : 0.0}) {
      fmt::print("  {:>11}", any ? fmt::format("{:.4g}", value) : "-");
    }
    fmt::print("  {:>6}  {:>6}\n", summary.nans, summary.infinities);
  }
  return Status::Ok();
}

// Everything but the recipe, which has a place of its own, on as few lines as fit.
void PrintMetadata(const Metadata& metadata) {
  constexpr size_t kWidth = 100;
  std::string line;
  for (const auto& [key, value] : metadata) {
    if (key == "recipe") continue;
    const std::string text = Plain(key + "=" + value);
    if (!line.empty() && line.size() + 2 + text.size() > kWidth) {
      fmt::print("  {}\n", line);
      line.clear();
    }
    line += (line.empty() ? "" : "  ") + text;
  }
  if (!line.empty()) fmt::print("  {}\n", line);
}

// A line for each section, without comments; long ones are cut short.
void PrintRecipe(const Metadata& metadata) {
  constexpr size_t kWidth = 100;
  const auto recipe = metadata.find("recipe");
  if (recipe == metadata.end()) return;
  std::string section;
  const auto print = [&] {
    if (section.size() > kWidth) section.replace(kWidth - 3, std::string::npos, "...");
    if (!section.empty()) fmt::print("  {}\n", section);
    section.clear();
  };
  const std::string& text = recipe->second;
  for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, std::min(text.find("  #", begin), end) - begin);
    line.erase(line.find_last_not_of(' ') + 1);
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      print();
      section = Plain(line) + " ";
    } else {
      section += (section.ends_with("] ") ? " " : ", ") + Plain(line);
    }
  }
  print();
}

}  // namespace

Status Inspect(const std::string& given) {
  const std::string path = ModelFile(given);
  LOCKSTEP_TRY_ASSIGN(const InputFile file, InputFile::Open(path));
  std::string begin(static_cast<size_t>(std::min<int64_t>(file.size(), 6)), '\0');
  LOCKSTEP_TRY(file.ReadAt(0, begin.data(), begin.size()));
  if (begin == "\x93NUMPY") {
    LOCKSTEP_TRY_ASSIGN(NpyArray array, ReadNpy(path));
    array.tensor.name = "array";
    fmt::print("{}: NPY array, {} bytes\n", path, file.size());
    return PrintTensors({&array.tensor, 1});
  }
  LOCKSTEP_TRY_ASSIGN(const SafetensorsFile tensors, ReadSafetensors(path));
  const bool checkpoint = tensors.metadata.contains(std::string(kChecksumKey));
  if (checkpoint) LOCKSTEP_TRY(LoadCheckpoint(path).status());  // its checksum
  int64_t elements = 0;
  for (const StoredTensor& tensor : tensors.tensors) elements += tensor.shape.size();
  fmt::print("{}: {}, {} bytes, {} tensors of {} elements\n", path,
             checkpoint ? "checkpoint of Lockstep, checksum right" : "safetensors", file.size(),
             tensors.tensors.size(), elements);
  PrintMetadata(tensors.metadata);
  PrintRecipe(tensors.metadata);
  return PrintTensors(tensors.tensors);
}

}  // namespace lockstep::tools
