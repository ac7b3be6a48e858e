// Tables of documents with a label: tables as in engine/data/table/table_text.h, of which one
// column is text.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TEXT_TABLE_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TEXT_TABLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/csv_column.h"
#include "engine/data/table/table_text.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

struct TextTableOptions {
  // Where `header` is not given, the first row is one if a column is given by its name.
  DialectOptions dialect{};
  CsvColumn text = int64_t{0};
  CsvColumn label = int64_t{-1};
  // To predict from: the label's column may be there or not and is not read, `labels` are 0 and
  // `classes` empty. A table of one column is one of texts. A row without text is an error: each
  // row gets its prediction.
  bool unlabelled = false;
  bool binary = false;        // two labels, target f32 {1}; else class numbers, i32 {}
  std::string positive = {};  // binary: the label that is 1; empty: the one sorted last
  int threads = 1;            // changes nothing but the time
};

struct TextTable {
  std::string name;                      // of the file, for messages
  std::vector<std::string> documents{};  // in the file's order, none of them empty
  std::vector<int32_t> labels{};         // one for each: a place in `classes`
  std::vector<std::string> classes{};    // names, in the order of class_labels.h
  bool binary = false;
  // Rows without text, which are left out, and the line of the first of them.
  int64_t empty = 0, first_empty_line = 0;
  std::vector<std::string> remarks{};  // what the user should be told, a line each
};

// Errors name the file, the line and what to do: rows of another width, a label that is missing,
// one label alone, no document that is not empty.
Result<TextTable> LoadTextTable(const std::string& path, const TextTableOptions& options = {});
// The same from memory; `name` stands for the file in messages.
Result<TextTable> ParseTextTable(std::string_view text, const std::string& name,
                                 const TextTableOptions& options = {});

struct TextTableData {
  std::shared_ptr<const InMemoryDataset> dataset;
  int64_t cut = 0;  // documents with more than `context` tokens, of which the rest is left out
};
// Samples x i32 {context}: the tokens of a document, cut behind `context` of them, or filled up
// with kPaddingToken (-1) on the right. Errors: context < 1, what the tokenizer does not know (with
// the document's number).
Result<TextTableData> TokenizeTable(const TextTable& table,
                                    std::shared_ptr<const Tokenizer> tokenizer, int64_t context);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TEXT_TABLE_H_
