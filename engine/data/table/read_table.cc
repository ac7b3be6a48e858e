#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/base/float_mode.h"
#include "engine/data/byte_source.h"
#include "engine/data/table/cell_reader.h"
#include "engine/data/table/describe_table.h"
#include "engine/data/table/find_columns.h"
#include "engine/data/table/table.h"
#include "engine/data/table/table_cache.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// Unseen words that a remark names.
constexpr size_t kShownWords = 3;
void ShowWord(std::string_view word, std::vector<std::string>& shown) {
  if (shown.size() < kShownWords && std::find(shown.begin(), shown.end(), word) == shown.end())
    shown.emplace_back(word);
}

class EvidenceVisitor final : public RowVisitor {
 public:
  // Looks at those of the columns that `wanted` names.
  EvidenceVisitor(std::vector<ColumnEvidence> empty, const std::vector<size_t>& wanted,
                  const MissingTexts& missing, NumberForm form)
      : evidence(std::move(empty)), wanted_(wanted), missing_(missing), form_(form) {}
  Status Visit(const TableRow& row) override {
    for (const size_t i : wanted_) evidence[i].Add(row.cells[i], row.line, missing_, form_);
    ++rows;
    return Status::Ok();
  }
  std::vector<ColumnEvidence> evidence;
  int64_t rows = 0;

 private:
  const std::vector<size_t>& wanted_;
  const MissingTexts& missing_;
  const NumberForm form_;
};

// The different texts of the columns that tell groups.
class GroupVisitor final : public RowVisitor {
 public:
  using Texts = std::map<int64_t, std::set<std::string, std::less<>>>;  // by where they stand
  GroupVisitor(Texts empty, const MissingTexts& missing)
      : texts(std::move(empty)), missing_(missing) {}
  Status Visit(const TableRow& row) override {
    for (auto& [source, seen] : texts) {
      const std::string_view cell = row.cells[static_cast<size_t>(source)];
      if (!missing_.Has(cell) && seen.find(cell) == seen.end()) seen.emplace(cell);
    }
    return Status::Ok();
  }
  Texts texts;

 private:
  const MissingTexts& missing_;
};

// A model does not know who its rows were of: groups are those of the table at hand.
Status FindGroups(const TableText& text, const std::vector<int64_t>& sources, int threads,
                  TableDescription& description) {
  GroupVisitor::Texts texts;
  for (size_t i = 0; i < sources.size(); ++i) {
    const TableColumn& column = description.columns[i];
    if (sources[i] >= 0 && column.role == Role::kGroup && column.kind == Kind::kCategory &&
        column.categories.empty())
      texts[sources[i]];
  }
  if (texts.empty()) return Status::Ok();
  const GroupVisitor::Texts empty = texts;
  const MissingTexts missing(description.missing);
  LOCKSTEP_TRY(text.ForEachRow([&] { return std::make_unique<GroupVisitor>(empty, missing); },
                               [&](RowVisitor& visitor) {
                                 for (auto& [source, seen] :
                                      static_cast<GroupVisitor&>(visitor).texts)
                                   texts[source].merge(seen);
                                 return Status::Ok();
                               },
                               threads));
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto found = texts.find(sources[i]);
    if (found == texts.end()) continue;
    description.columns[i].categories.assign(found->second.begin(), found->second.end());
  }
  return Status::Ok();
}

// How the columns of a file are read for a description.
struct Reading {
  const TableText& text;
  const TableDescription& description;
  RecordLayout layout;
  std::vector<int64_t> sources;  // by column of the description: where it stands; -1: not here
  bool drop;                     // rows with a missing value
  CellReader cells;

  Reading(const TableText& of, const TableDescription& as, std::vector<int64_t> from,
          NumberForm form, bool drops)
      : text(of),
        description(as),
        layout(RecordLayout::Of(as)),
        sources(std::move(from)),
        drop(drops),
        cells(as, form) {}
};

// The records of neighbouring rows.
class RecordVisitor final : public RowVisitor {
 public:
  explicit RecordVisitor(const Reading& reading)
      : unseen(reading.description.columns.size()),
        words(reading.description.columns.size()),
        reading_(reading) {}

  Status Visit(const TableRow& row) override {
    const size_t begin = records.size();
    records.resize(begin + static_cast<size_t>(reading_.layout.bytes));
    for (size_t i = 0; i < reading_.sources.size(); ++i) {
      const int64_t source = reading_.sources[i];
      if (source < 0) continue;
      const std::string_view cell = row.cells[static_cast<size_t>(source)];
      if (reading_.drop && reading_.cells.IsMissing(cell)) {
        records.resize(begin);
        ++dropped;
        return Status::Ok();
      }
      const Result<CellValue> value = reading_.cells.Read(i, cell);
      if (!value.ok()) return value.status().At(reading_.text.PlaceOf(row.line, source));
      if (value->code == kUnseenCode) NoteUnseen(i, cell);
      reading_.layout.Put(static_cast<int64_t>(i), *value, records.data() + begin);
    }
    return Status::Ok();
  }

  std::vector<std::byte> records;
  int64_t dropped = 0;
  std::vector<int64_t> unseen;
  std::vector<std::vector<std::string>> words;  // some of the unseen ones

 private:
  void NoteUnseen(size_t column, std::string_view word) {
    ++unseen[column];
    ShowWord(word, words[column]);
  }

  const Reading& reading_;
};

// What records mean.
void AddMeaning(const TableDescription& description, Hasher& hasher) {
  const auto add = [&](const std::string& text) { hasher.AddNumber(text.size()).Add(text); };
  for (const TableColumn& column : description.columns) {
    add(column.name);
    add(NameOf(column.kind));
    add(NameOf(column.role));
    for (const std::string& category : column.categories) add(category);
  }
}

// All rows, stored, or written to `cache` where there is one. `rows`: how many there are, where
// that is known.
Result<Table> Store(const Reading& reading, int64_t rows, int threads,
                    const TableText::Progress& progress, TableCache* cache = nullptr) {
  Table table{.name = reading.text.name(), .description = {}, .rows = nullptr};
  table.unseen.resize(reading.description.columns.size());
  std::vector<std::vector<std::string>> words(table.unseen.size());
  std::vector<std::byte> records;
  if (cache == nullptr) records.reserve(static_cast<size_t>(rows * reading.layout.bytes));
  bool any = false;
  Hasher hasher;
  AddMeaning(reading.description, hasher);
  const auto make = [&] { return std::make_unique<RecordVisitor>(reading); };
  const auto take = [&](RowVisitor& visitor) {
    auto& part = static_cast<RecordVisitor&>(visitor);
    any = any || !part.records.empty();
    if (cache != nullptr) {
      LOCKSTEP_TRY(cache->Append(part.records));
    } else {
      records.insert(records.end(), part.records.begin(), part.records.end());
    }
    hasher.Add(part.records);
    table.dropped_rows += part.dropped;
    for (size_t i = 0; i < table.unseen.size(); ++i) {
      table.unseen[i] += part.unseen[i];
      for (const std::string& word : part.words[i]) ShowWord(word, words[i]);
    }
    return Status::Ok();
  };
  LOCKSTEP_TRY(reading.text.ForEachRow(make, take, threads, progress));
  for (size_t i = 0; i < table.unseen.size(); ++i) {
    if (table.unseen[i] == 0) continue;
    std::string shown;
    for (const std::string& word : words[i]) shown += (shown.empty() ? "" : ", ") + ShownText(word);
    table.remarks.push_back(reading.text.NameOf(reading.sources[i]) + ": " +
                            std::to_string(table.unseen[i]) +
                            (table.unseen[i] == 1 ? " cell holds a word" : " cells hold words") +
                            " that the model has never seen (" + shown +
                            (words[i].size() < kShownWords ? "" : ", ...") + ")");
  }
  if (table.dropped_rows > 0) {
    table.remarks.push_back(std::to_string(table.dropped_rows) +
                            " rows with missing values are left out");
  }
  if (!any && table.dropped_rows == 0)
    return Status::Corrupt(reading.text.name() + ": there is only a header and no row of data");
  if (!any) {
    return Status::Corrupt(reading.text.name() + ": all " + std::to_string(table.dropped_rows) +
                           " rows have missing values and were left out; have them filled instead "
                           "(data.missing = \"mean\")");
  }
  table.content = hasher.Finish();
  if (cache == nullptr)
    table.rows = std::make_shared<const TableRows>(reading.layout, std::move(records));
  return table;
}

DialectOptions DialectFor(const TableOptions& options) {
  DialectOptions dialect = options.dialect;
  dialect.missing = MissingTextsWith(options.more_missing);
  for (const auto& column : {options.target, options.weight, options.group, options.time}) {
    if (column) AddName(*column, dialect.names);
  }
  for (const CsvColumn& column : options.ignored) AddName(column, dialect.names);
  for (const auto& [column, type] : options.types) AddName(column, dialect.names);
  return dialect;
}

Result<Table> Read(const TableText& text, const TableOptions& options,
                   TableCache* cache = nullptr) {
  const ScopedFloatMode mode;
  LOCKSTEP_TRY_ASSIGN(const ColumnWishes wishes, WishesFor(text, options));
  std::vector<ColumnEvidence> evidence = EvidenceFor(text, wishes);
  const std::vector<ColumnEvidence> empty = evidence;
  std::vector<size_t> wanted;
  for (size_t i = 0; i < evidence.size(); ++i) {
    if (!wishes.leaves_out(i)) wanted.push_back(i);
  }
  int64_t rows = 0;
  const MissingTexts missing(MissingTextsWith(options.more_missing));
  const auto half = [&](double from) -> TableText::Progress {
    if (!options.progress) return nullptr;
    return [&options, from](double share) { options.progress(from + share / 2.0); };
  };
  // Columns of which it is known that they have too many different cells: those who look at later
  // parts need not count them, which would be forgotten once they are taken.
  std::vector<std::atomic<bool>> too_many(evidence.size());
  LOCKSTEP_TRY(text.ForEachRow(
      [&] {
        auto visitor =
            std::make_unique<EvidenceVisitor>(empty, wanted, missing, text.dialect().number);
        for (size_t i = 0; i < too_many.size(); ++i) {
          if (too_many[i].load(std::memory_order_relaxed)) visitor->evidence[i].Forget();
        }
        return visitor;
      },
      [&](RowVisitor& visitor) {
        auto& part = static_cast<EvidenceVisitor&>(visitor);
        rows += part.rows;
        for (const size_t i : wanted) {
          evidence[i].Merge(part.evidence[i]);
          too_many[i].store(!evidence[i].knows_texts(), std::memory_order_relaxed);
        }
        return Status::Ok();
      },
      options.threads, half(0.0)));
  if (rows == 0)
    return Status::Corrupt(text.name() + ": there is only a header and no row of data");
  LOCKSTEP_TRY_ASSIGN(DescribedTable described, DescribeTable(text, options, wishes, evidence));

  std::vector<int64_t> sources;
  for (size_t i = 0; i < described.description.columns.size(); ++i) {
    const bool stored = described.description.columns[i].role != Role::kLeftOut;
    sources.push_back(stored ? static_cast<int64_t>(i) : -1);
  }
  const Reading reading(text, described.description, std::move(sources), text.dialect().number,
                        options.on_missing == TableOptions::Missing::kDropRow);
  LOCKSTEP_TRY_ASSIGN(Table table, Store(reading, rows, options.threads, half(0.5), cache));
  std::vector<std::string> remarks = text.remarks();
  for (std::vector<std::string>* more : {&described.remarks, &table.remarks})
    remarks.insert(remarks.end(), more->begin(), more->end());
  table.remarks = std::move(remarks);
  table.description = std::move(described.description);
  if (cache != nullptr) LOCKSTEP_TRY(cache->Finish(reading.layout, table));
  return table;
}

DialectOptions DialectFor(const TableDescription& description) {
  return {.doubt_is_data = !description.dialect.header,
          .names = NamesOfFeatures(description.columns),
          .missing = description.missing};
}

Result<Table> ReadFor(const TableText& text, const TableDescription& description,
                      const TableNeeds& needs) {
  const ScopedFloatMode mode;
  // What a description needs not is not stored.
  LOCKSTEP_TRY_ASSIGN(
      FoundColumns found,
      FindColumns(text, description.columns, {.target = needs.target, .others = needs.others}));
  std::vector<int64_t>& sources = found.sources;
  TableDescription stored = description;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] < 0) stored.columns[i].role = Role::kLeftOut;
  }
  LOCKSTEP_TRY(FindGroups(text, sources, needs.threads, stored));
  const auto store = [&](NumberForm form) {
    const Reading reading(text, stored, sources, form, needs.drop);
    return Store(reading, 0, needs.threads, needs.progress);
  };
  // "1,125" alone may be either: the table trained on says, unless there are numbers here that only
  // another form reads.
  const NumberForm trained = description.dialect.number, here = text.dialect().number;
  const bool alike = text.dialect().delimiter == description.dialect.delimiter;
  std::vector<std::string> remarks = text.remarks();
  Result<Table> read = store(alike ? trained : here);
  if (!read.ok() && alike && here != trained) {
    Result<Table> other = store(here);
    if (other.ok()) {
      read = std::move(other);
      remarks.push_back(std::string("numbers have a decimal ") +
                        (here.decimal == ',' ? "comma" : "point") +
                        ", unlike those of the table trained on");
    }
  }
  LOCKSTEP_TRY(read.status());
  Table table = std::move(read).value();
  table.description = std::move(stored);
  if (!found.remark.empty()) remarks.push_back(found.remark);
  remarks.insert(remarks.end(), table.remarks.begin(), table.remarks.end());
  table.remarks = std::move(remarks);
  return table;
}

}  // namespace

Result<Table> ReadTable(const std::string& path, const TableOptions& options) {
  if (options.cache) {
    LOCKSTEP_TRY_ASSIGN(TableCache cache, TableCache::Open(path, options));
    if (std::optional<Table> table = cache.Take()) return std::move(*table);
    LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, DialectFor(options)));
    LOCKSTEP_TRY_ASSIGN(Table table, Read(text, options, cache.writes() ? &cache : nullptr));
    if (!cache.remark().empty()) table.remarks.push_back(cache.remark());
    return table;
  }
  LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, DialectFor(options)));
  return Read(text, options);
}
Result<Table> ParseTable(std::string_view text, const std::string& name,
                         const TableOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const TableText opened, TableText::OpenText(text, name, DialectFor(options)));
  return Read(opened, options);
}

Result<Table> ReadTableFor(const std::string& path, const TableDescription& description,
                           const TableNeeds& needs) {
  LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, DialectFor(description)));
  return ReadFor(text, description, needs);
}
Result<Table> ParseTableFor(std::string_view text, const std::string& name,
                            const TableDescription& description, const TableNeeds& needs) {
  LOCKSTEP_TRY_ASSIGN(const TableText opened,
                      TableText::OpenText(text, name, DialectFor(description)));
  return ReadFor(opened, description, needs);
}

}  // namespace lockstep
