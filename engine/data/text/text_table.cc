#include "engine/data/text/text_table.h"

#include <algorithm>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/csv_labels.h"
#include "engine/data/table/csv_reader.h"

namespace lockstep {
namespace {

// kPaddingToken of layers/sequence/places.h, which data may not include.
constexpr int32_t kPadding = -1;

bool HasHeader(const TextTableOptions& options) {
  if (options.header != CsvOptions::Header::kAuto)
    return options.header == CsvOptions::Header::kYes;
  return std::holds_alternative<std::string>(options.text) ||
         std::holds_alternative<std::string>(options.label);
}

Result<TextTable> Parse(std::unique_ptr<ByteSource> source, const std::string& name,
                        const TextTableOptions& options) {
  const char d = options.delimiter;
  if (d == '"' || d == '\n' || d == '\r' || d == '\0') {
    return Status::Invalid(name + ": a quote, a line end or NUL cannot be the delimiter");
  }
  CsvReader rows(std::move(source), name, d, options.max_bytes);
  const auto fail_at = [&](const std::string& what) {
    return Status::Corrupt(name + ": line " + std::to_string(rows.line()) + ": " + what);
  };
  LOCKSTEP_TRY_ASSIGN(bool more, rows.NextRow());
  if (!more) return Status::Corrupt(name + ": the file is empty; it must hold rows of text");
  const size_t columns = rows.fields();
  const bool has_header = HasHeader(options);
  std::vector<std::string> header;
  for (size_t i = 0; has_header && i < columns; ++i) header.emplace_back(rows.field(i));
  const auto* names = has_header ? &header : nullptr;
  const bool labelled = !options.unlabelled;
  const bool by_name = std::holds_alternative<std::string>(options.text);
  const CsvColumn wanted =
      labelled || by_name || columns > 1 ? options.text : CsvColumn(int64_t{0});
  LOCKSTEP_TRY_ASSIGN(const size_t text, FindCsvColumn(name, wanted, "text", columns, names));
  size_t label = 0;
  if (labelled) {
    LOCKSTEP_TRY_ASSIGN(label, FindCsvColumn(name, options.label, "label", columns, names));
  }
  if (labelled && text == label) {
    return Status::Invalid(name + ": column " + std::to_string(text) +
                           " cannot be text and label at once");
  }
  if (has_header) {
    LOCKSTEP_TRY_ASSIGN(more, rows.NextRow());
  }
  TextTable table{.name = name, .binary = options.binary};
  CsvLabels labels;
  while (more) {
    if (rows.fields() != columns) {
      return fail_at(std::to_string(rows.fields()) + " fields, but the first row has " +
                     std::to_string(columns) + "; a text with the delimiter in it must be quoted");
    }
    if (labelled && rows.field(label).empty()) return fail_at("the label is missing; complete it");
    if (rows.field(text).empty()) {
      if (!labelled) return fail_at("the text is missing; complete it or leave the row out");
      if (table.empty++ == 0) table.first_empty_line = rows.line();
    } else {
      table.documents.emplace_back(rows.field(text));
      table.labels.push_back(labelled ? labels.Add(rows.field(label)) : 0);
      if (table.labels.back() < 0) {
        return fail_at("more than " + std::to_string(CsvLabels::kMost) +
                       " different labels; is another column the label?");
      }
    }
    LOCKSTEP_TRY_ASSIGN(more, rows.NextRow());
  }
  if (table.documents.empty()) {
    return Status::Corrupt(name + ": holds no document that is not empty (" +
                           std::to_string(table.empty) + " are)");
  }
  if (!labelled) return table;
  LOCKSTEP_TRY_ASSIGN(table.classes, labels.Ordered(name, options.binary, options.positive));
  const std::vector<int32_t> places = labels.Places(table.classes);
  for (int32_t& number : table.labels) number = places[static_cast<size_t>(number)];
  return table;
}

}  // namespace

Result<TextTable> LoadTextTable(const std::string& path, const TextTableOptions& options) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Parse(std::move(source), path, options);
}

Result<TextTable> ParseTextTable(std::string_view text, const std::string& name,
                                 const TextTableOptions& options) {
  return Parse(OpenText(text), name, options);
}

Result<TextTableData> TokenizeTable(const TextTable& table,
                                    std::shared_ptr<const Tokenizer> tokenizer, int64_t context) {
  if (context < 1) {
    return Status::Invalid(table.name + ": documents of " + std::to_string(context) +
                           " tokens; there must be at least 1");
  }
  TextTableData data;
  const auto length = static_cast<size_t>(context);
  std::vector<int32_t> x, tokens;
  x.reserve(table.documents.size() * length);
  for (size_t i = 0; i < table.documents.size(); ++i) {
    tokens.clear();
    LOCKSTEP_TRY(tokenizer->Encode(table.documents[i], tokens)
                     .At(table.name + ": document " + std::to_string(i + 1)));
    if (tokens.size() > length) ++data.cut;
    tokens.resize(length, kPadding);
    x.insert(x.end(), tokens.begin(), tokens.end());
  }
  DatasetInfo info{.name = table.name,
                   .size = static_cast<int64_t>(table.documents.size()),
                   .x_dtype = DType::kI32,
                   .x_shape = {context},
                   .vocabulary = tokenizer->size(),
                   .padded = true,
                   .tokenizer = tokenizer,
                   .class_names = table.classes};
  InMemoryDataset::Targets targets = table.labels;
  if (table.binary) {
    SetTargets(Task::kBinary, 1, info);
    targets = std::vector<float>(table.labels.begin(), table.labels.end());
  } else {
    SetTargets(Task::kClasses, static_cast<int64_t>(table.classes.size()), info);
  }
  LOCKSTEP_TRY_ASSIGN(data.dataset,
                      InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets)));
  return data;
}

}  // namespace lockstep
