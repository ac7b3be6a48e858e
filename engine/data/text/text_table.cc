#include "engine/data/text/text_table.h"

#include <optional>
#include <utility>

#include "engine/data/table/class_labels.h"

namespace lockstep::inline v0_1 {
namespace {

// kPaddingToken of layers/sequence/places.h, which data may not include.
constexpr int32_t kPadding = -1;

// Neighbouring rows.
class TextVisitor final : public RowVisitor {
 public:
  TextVisitor(const TableText& table, size_t text, std::optional<size_t> label)
      : table_(table), text_(text), label_(label) {}

  Status Visit(const TableRow& row) override {
    const std::string_view text = row.cells[text_];
    if (label_ && row.cells[*label_].empty())
      return Fail(row, *label_, "the label is missing; complete it");
    if (text.empty()) {
      if (!label_) return Fail(row, text_, "the text is missing; complete it or leave the row out");
      if (empty++ == 0) first_empty_line = row.line;
      return Status::Ok();
    }
    documents.emplace_back(text);
    if (label_) labels.emplace_back(row.cells[*label_]);
    return Status::Ok();
  }

  std::vector<std::string> documents, labels;
  int64_t empty = 0, first_empty_line = 0;

 private:
  Status Fail(const TableRow& row, size_t column, const char* what) const {
    return Status::Corrupt(what).At(table_.PlaceOf(row.line, static_cast<int64_t>(column)));
  }

  const TableText& table_;
  const size_t text_;
  const std::optional<size_t> label_;
};

DialectOptions DialectFor(const TextTableOptions& options) {
  DialectOptions dialect = options.dialect;
  const bool by_name = std::holds_alternative<std::string>(options.text) ||
                       std::holds_alternative<std::string>(options.label);
  if (!dialect.header) dialect.header = by_name;
  return dialect;
}

Result<TextTable> Read(const Result<TableText>& opened, const TextTableOptions& options) {
  LOCKSTEP_TRY(opened.status());
  const TableText& text = *opened;
  const std::string& name = text.name();
  const auto columns = static_cast<size_t>(text.columns());
  const auto find = [&](const CsvColumn& column, const char* role) {
    return FindCsvColumn(name, column, role, columns,
                         text.names().empty() ? nullptr : &text.names());
  };
  const bool labelled = !options.unlabelled;
  const bool by_name = std::holds_alternative<std::string>(options.text);
  const bool alone = !labelled && !by_name && columns == 1;
  LOCKSTEP_TRY_ASSIGN(const size_t place,
                      find(alone ? CsvColumn(int64_t{0}) : options.text, "text"));
  std::optional<size_t> label;
  if (labelled) {
    LOCKSTEP_TRY_ASSIGN(label, find(options.label, "label"));
  }
  if (label == place) {
    return Status::Invalid(name + ": " + text.NameOf(static_cast<int64_t>(place)) +
                           " cannot be text and label at once (data.text, data.label)");
  }
  TextTable table{.name = name, .binary = options.binary, .remarks = text.remarks()};
  LabelNumbers labels;
  const auto take = [&](RowVisitor& visitor) -> Status {
    auto& part = static_cast<TextVisitor&>(visitor);
    if (table.empty == 0) table.first_empty_line = part.first_empty_line;
    table.empty += part.empty;
    for (std::string& document : part.documents) table.documents.push_back(std::move(document));
    for (const std::string& one : part.labels) {
      table.labels.push_back(labels.Add(one));
      if (table.labels.back() >= 0) continue;
      return Status::Corrupt(name + ": more than " + std::to_string(LabelNumbers::kMost) +
                             " different labels; is another column the label (data.label)?");
    }
    return Status::Ok();
  };
  LOCKSTEP_TRY(text.ForEachRow([&] { return std::make_unique<TextVisitor>(text, place, label); },
                               take, options.threads));
  if (table.documents.empty()) {
    return Status::Corrupt(name + ": holds no document that is not empty (" +
                           std::to_string(table.empty) + " are)");
  }
  if (!labelled) {
    table.labels.resize(table.documents.size());
    return table;
  }
  const Task task = options.binary ? Task::kBinary : Task::kClasses;
  LOCKSTEP_TRY_ASSIGN(table.classes,
                      labels.Ordered(name, task, options.positive, text.dialect().number));
  const std::vector<int32_t> places = labels.Places(table.classes);
  for (int32_t& number : table.labels) number = places[static_cast<size_t>(number)];
  return table;
}

}  // namespace

Result<TextTable> LoadTextTable(const std::string& path, const TextTableOptions& options) {
  return Read(TableText::OpenFile(path, DialectFor(options)), options);
}

Result<TextTable> ParseTextTable(std::string_view text, const std::string& name,
                                 const TextTableOptions& options) {
  return Read(TableText::OpenText(text, name, DialectFor(options)), options);
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
