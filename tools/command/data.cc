#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/data/builtin/clinical.h"
#include "engine/data/builtin/digits.h"
#include "engine/data/builtin/sums.h"
#include "engine/data/builtin/visits.h"
#include "engine/io/file.h"
#include "engine/io/nearest_name.h"
#include "engine/io/text.h"
#include "models/recipe.h"
#include "models/recipe_table.h"
#include "tools/command/commands.h"
#include "tools/command/live_line.h"
#include "tools/command/show_table.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {
namespace {

float Target(const InMemoryDataset& data, int64_t i) { return data.StoredTarget(i).f32()[0]; }

// One row of a table: the features, then the outcome.
std::string CsvRow(const InMemoryDataset& data, int64_t i) {
  const ConstTensor x = data.StoredX(i);
  std::string row;
  for (int64_t c = 0; c < x.shape().size(); ++c) row += fmt::format("{},", x.f32()[c]);
  return row + fmt::format("{}\n", Target(data, i));
}

Status Clinical(const DataArgs& args) {
  ClinicalOptions options{.seed = static_cast<uint64_t>(args.seed)};
  if (args.size > 0) options.size = args.size;
  LOCKSTEP_TRY_ASSIGN(const ClinicalData clinical, MakeClinical(options));
  const InMemoryDataset& data = *clinical.dataset;
  std::string header;
  for (const std::string& name : data.info().feature_names) header += name + ",";
  header += "outcome\n";
  if (args.output.empty()) {
    LOCKSTEP_TRY_ASSIGN(const BestPossible best,
                        BestPossibleScores(clinical, AllIndices(data.size())));
    fmt::print(
        "{} patients, {} measurements each, outcome 0 or 1 (CSV with -o FILE). The best possible "
        "model scores AUC {:.4f}, accuracy {:.2f} %.\n{}",
        data.size(), data.info().x_shape.size(), best.drawn_auc, best.drawn_accuracy * 100.0,
        header);
    for (int64_t i = 0; i < std::min(args.rows, data.size()); ++i)
      fmt::print("{}", CsvRow(data, i));
    return Status::Ok();
  }
  LOCKSTEP_TRY_ASSIGN(AtomicFile file, AtomicFile::Create(args.output));
  LOCKSTEP_TRY(file.Write(header));
  for (int64_t i = 0; i < data.size(); ++i) LOCKSTEP_TRY(file.Write(CsvRow(data, i)));
  LOCKSTEP_TRY(file.Commit());
  fmt::print("{} patients are in {}\n", data.size(), args.output);
  return Status::Ok();
}

// IDX: two zero bytes, the type (8: unsigned byte), the rank, then each extent, big-endian.
std::string IdxHeader(std::initializer_list<int64_t> extents) {
  std::string header = {0, 0, 8, static_cast<char>(extents.size())};
  for (const int64_t extent : extents) {
    for (int shift = 24; shift >= 0; shift -= 8) header += static_cast<char>(extent >> shift & 255);
  }
  return header;
}

Status WriteIdxPair(const InMemoryDataset& data, const std::string& prefix) {
  const Shape& shape = data.info().x_shape;
  const int64_t height = shape[0], width = shape[1];
  LOCKSTEP_TRY_ASSIGN(AtomicFile images, AtomicFile::Create(prefix + "-images-idx3-ubyte"));
  LOCKSTEP_TRY_ASSIGN(AtomicFile labels, AtomicFile::Create(prefix + "-labels-idx1-ubyte"));
  LOCKSTEP_TRY(images.Write(IdxHeader({data.size(), height, width})));
  LOCKSTEP_TRY(labels.Write(IdxHeader({data.size()})));
  for (int64_t i = 0; i < data.size(); ++i) {
    const auto* pixels = static_cast<const std::byte*>(data.StoredX(i).data());
    LOCKSTEP_TRY(images.Write(std::span(pixels, static_cast<size_t>(height * width))));
    const auto label = static_cast<std::byte>(data.StoredTarget(i).as<int32_t>()[0]);
    LOCKSTEP_TRY(labels.Write(std::span(&label, 1)));
  }
  LOCKSTEP_TRY(images.Commit());
  return labels.Commit();
}

// Two pixels above each other in a character.
void PrintDigit(const InMemoryDataset& data, int64_t i) {
  const Shape& shape = data.info().x_shape;
  const auto* pixels = static_cast<const uint8_t*>(data.StoredX(i).data());
  fmt::print("{}\n", data.StoredTarget(i).as<int32_t>()[0]);
  constexpr std::array<const char*, 4> kInk = {" ", "▄", "▀", "█"};
  for (int64_t y = 0; y + 1 < shape[0]; y += 2) {
    std::string line;
    for (int64_t x = 0; x < shape[1]; ++x) {
      const bool above = pixels[y * shape[1] + x] > 100,
                 below = pixels[(y + 1) * shape[1] + x] > 100;
      line += kInk[static_cast<size_t>(2 * above + below)];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

Status Digits(const DataArgs& args) {
  DigitsOptions options{.seed = static_cast<uint64_t>(args.seed)};
  if (args.size > 0) options.train = args.size;
  LOCKSTEP_TRY_ASSIGN(const DigitsData digits, MakeDigits(options));
  if (args.output.empty()) {
    fmt::print("{} pictures to train and {} to test, 28 x 28 bytes (IDX files with -o FOLDER)\n",
               digits.train->size(), digits.test->size());
    for (int64_t i = 0; i < std::min(args.rows, digits.train->size()); ++i) {
      PrintDigit(*digits.train, i);
    }
    return Status::Ok();
  }
  LOCKSTEP_TRY(CreateFolders(args.output));
  LOCKSTEP_TRY(WriteIdxPair(*digits.train, args.output + "/train"));
  LOCKSTEP_TRY(WriteIdxPair(*digits.test, args.output + "/t10k"));
  fmt::print("{} and {} pictures are in {}: data.kind=mnist data.path={} reads them\n",
             digits.train->size(), digits.test->size(), args.output, args.output);
  return Status::Ok();
}

Status Sums(const DataArgs& args) {
  if (args.size > 0) return Status::Invalid("sums holds every pair of operands: it has no --size");
  LOCKSTEP_TRY_ASSIGN(const SumsData sums, MakeSums({.seed = static_cast<uint64_t>(args.seed)}));
  if (args.output.empty()) {
    fmt::print("{} sums to train and {} to test (text with -o FILE: the training ones)\n",
               sums.train_texts.size(), sums.test_texts.size());
    const auto rows = std::min(static_cast<size_t>(args.rows), sums.train_texts.size());
    for (size_t i = 0; i < rows; ++i) fmt::print("{}", sums.train_texts[i]);
    return Status::Ok();
  }
  std::string text;
  for (const std::string& sum : sums.train_texts) text += sum;
  LOCKSTEP_TRY(WriteFileAtomically(args.output, text));
  fmt::print("{} sums are in {}\n", sums.train_texts.size(), args.output);
  return Status::Ok();
}

Status Visits(const DataArgs& args) {
  VisitsOptions options{.seed = static_cast<uint64_t>(args.seed)};
  if (args.size > 0) options.size = args.size;
  LOCKSTEP_TRY_ASSIGN(const VisitsData visits, MakeVisits(options));
  if (args.output.empty()) {
    fmt::print("{} visits of patients to four hospitals (CSV with -o FILE)\n{}\n",
               visits.rows.size(), visits.header);
    const auto rows = std::min(static_cast<size_t>(args.rows), visits.rows.size());
    for (size_t i = 0; i < rows; ++i) fmt::print("{}\n", visits.rows[i]);
    return Status::Ok();
  }
  std::string text = visits.header + "\n";
  for (const std::string& row : visits.rows) text += row + "\n";
  LOCKSTEP_TRY(WriteFileAtomically(args.output, text));
  fmt::print("{} visits are in {}\n", visits.rows.size(), args.output);
  return Status::Ok();
}

// What is understood of a table, or of the table that a recipe names.
Status File(const DataArgs& args) {
  if (!args.output.empty() || args.size > 0) {
    return Status::Invalid(
        "-o and --size are for the built-in sets; a file is shown as it is: "
        "lockstep data " +
        args.name);
  }
  std::vector<std::string> overrides = args.overrides;
  const bool is_recipe = args.name.ends_with(".toml");
  if (!is_recipe) overrides.insert(overrides.begin(), {"data.kind=csv", "data.path=" + args.name});
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe, is_recipe ? LoadRecipe(args.name, overrides)
                                                     : ParseRecipe("", args.name, overrides));
  if (recipe.data.kind != "csv") {
    return Status::Invalid("data.kind = " + Quoted(recipe.data.kind) +
                           " is not shown, only tables are (data.kind = \"csv\"); lockstep plan "
                           "shows what is made of it");
  }
  LOCKSTEP_TRY_ASSIGN(TableOptions options, TableOptionsOf(recipe));
  const bool refuses_missing = options.on_missing == TableOptions::Missing::kError;
  if (refuses_missing) options.on_missing = TableOptions::Missing::kMean;
  options.progress = SayReading();
  Result<Table> read = ReadTable(recipe.data.path, options);
  if (!read.ok() && options.on_missing != TableOptions::Missing::kDropRow) {
    // A target may be missing: the other rows show what there is.
    options.on_missing = TableOptions::Missing::kDropRow;
    Result<Table> others = ReadTable(recipe.data.path, options);
    if (!others.ok()) return read.status();
    others->remarks.push_back(read.status().message());
    read = std::move(others);
  }
  LOCKSTEP_TRY(read.status());
  Table table = std::move(*read);
  const bool missing = std::any_of(table.description.columns.begin(),
                                   table.description.columns.end(), [](const TableColumn& column) {
                                     return column.has_missing &&
                                            column.role == TableColumn::Role::kFeature &&
                                            column.kind != TableColumn::Kind::kCategory;
                                   });
  if (refuses_missing && missing) {
    table.remarks.push_back(
        "numbers are missing: training needs data.missing = \"mean\", "
        "\"indicate\" or \"drop\"");
  }
  fmt::print("{}", ShowTable(table, TerminalOf(stdout).columns));
  return Status::Ok();
}

}  // namespace

Status Data(const DataArgs& args) {
  // A built-in set's name is no file's, unless the file is told by its folder ("./digits").
  if (args.name == "clinical") return Clinical(args);
  if (args.name == "digits") return Digits(args);
  if (args.name == "sums") return Sums(args);
  if (args.name == "visits") return Visits(args);
  if (std::filesystem::exists(args.name) || args.name.find_first_of("./") != std::string::npos)
    return File(args);
  if (!args.name.empty()) {
    const std::vector<std::string> names = {"clinical", "digits", "sums", "visits"};
    return Status::Invalid("there is neither a built-in set nor a file " + Quoted(args.name) +
                           "; did you mean " + NearestName(args.name, names) + "?");
  }
  if (!args.output.empty()) return Status::Invalid("-o needs the name of a set in front of it");
  fmt::print(
      "clinical   patients: 20 measurements to an outcome whose true probability is known\n"
      "digits     pictures of the digits 0 to 9, drawn by strokes and distorted, 28 x 28 grey\n"
      "sums       lines of text like 12+35=47\n"
      "visits     visits to hospitals, with words, dates, missing values, several of a patient\n"
      "All are made by code from a seed, the same on every machine: lockstep data NAME shows "
      "one.\nlockstep data FILE shows what is understood of a table.\n");
  return Status::Ok();
}

}  // namespace lockstep::tools
