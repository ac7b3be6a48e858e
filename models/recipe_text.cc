#include "models/recipe_text.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "engine/data/text/bpe_files.h"
#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"
#include "engine/data/text/text_file.h"
#include "engine/data/text/text_table.h"
#include "engine/data/text/token_file.h"
#include "engine/data/text/token_windows.h"
#include "models/recipe_keys.h"
#include "models/recipe_table.h"

namespace lockstep::inline v0_1 {
namespace {

enum class TokenizerKind { kAuto, kCharacters, kBytes, kBpe };
constexpr Choice<TokenizerKind> kTokenizers[] = {{"auto", TokenizerKind::kAuto},
                                                 {"characters", TokenizerKind::kCharacters},
                                                 {"bytes", TokenizerKind::kBytes},
                                                 {"bpe", TokenizerKind::kBpe}};

using MaybeTokenizer = std::shared_ptr<const Tokenizer>;

// What auto stands for: kAuto again where the recipe says nothing of a tokenizer.
Result<TokenizerKind> KindOfTokenizer(const Recipe::Data& data) {
  LOCKSTEP_TRY_ASSIGN(TokenizerKind kind, Chosen("data.tokenizer", kTokenizers, data.tokenizer));
  const bool has_path = !data.tokenizer_path.empty();
  if (kind == TokenizerKind::kAuto && has_path) kind = TokenizerKind::kBpe;
  if (kind == TokenizerKind::kBpe && !has_path) {
    return Status::Invalid(
        "data.tokenizer = \"bpe\" needs data.tokenizer_path: a tokenizer.json, or a folder with "
        "vocab.json and merges.txt");
  }
  if (kind != TokenizerKind::kBpe && has_path) {
    return Status::Invalid("data.tokenizer_path is for data.tokenizer = \"bpe\", which is \"" +
                           data.tokenizer + "\"");
  }
  return kind;
}

// `all_text` gives the text whose characters are counted.
template <class AllText>
Result<MaybeTokenizer> TokenizerOf(const Recipe::Data& data, MaybeTokenizer given,
                                   const AllText& all_text) {
  LOCKSTEP_TRY_ASSIGN(const TokenizerKind kind, KindOfTokenizer(data));
  if (given != nullptr) return given;
  switch (kind) {
    case TokenizerKind::kBytes:
      return MakeByteTokenizer();
    case TokenizerKind::kBpe:
      return Under("data.tokenizer_path", ReadBpe(data.tokenizer_path));
    case TokenizerKind::kAuto:
    case TokenizerKind::kCharacters:
      break;
  }
  const MaybeTokenizer characters = MakeCharacterTokenizer(all_text());
  if (characters->size() > 1) return characters;
  return Status::Invalid(data.path +
                         ": all of the text is one character, there is nothing to learn from it");
}

using Streams = std::shared_ptr<const TokenStream>;

// `test` is null where the end of `train` is to test with.
Result<RecipeData> Windows(const Recipe& recipe, const Streams& train, const Streams& test,
                           const MaybeTokenizer& tokenizer) {
  const Recipe::Data& data = recipe.data;
  const int64_t context = data.context;
  LOCKSTEP_TRY_ASSIGN(const TokenParts parts,
                      SplitTokens(train->name(), train->size(), context, data.validation,
                                  test == nullptr ? data.test : 0.0));
  const int64_t windows =
      data.windows > 0 ? data.windows : std::max<int64_t>(1, (parts.train.size() - 1) / context);
  RecipeData made;
  LOCKSTEP_TRY_ASSIGN(made.train.dataset,
                      TokenWindows::Training(train, parts.train, context, windows,
                                             static_cast<uint64_t>(recipe.train.seed), tokenizer));
  made.train.indices = AllIndices(windows);

  const auto evaluated = [&](const Streams& stream, TokenRange part) -> Result<Subset> {
    if (part.size() == 0) return Subset{};
    Subset subset;
    LOCKSTEP_TRY_ASSIGN(subset.dataset, TokenWindows::Evaluation(stream, part, context, tokenizer));
    subset.indices = AllIndices(subset.dataset->size());
    return subset;
  };
  LOCKSTEP_TRY_ASSIGN(made.train_unchanged, evaluated(train, parts.train));
  std::vector<int64_t>& spread = made.train_unchanged.indices;
  const auto all = static_cast<int64_t>(spread.size());
  const int64_t kept = std::min(all, windows);
  for (int64_t i = 0; i < kept; ++i) spread[static_cast<size_t>(i)] = i * (all / kept);
  spread.resize(static_cast<size_t>(kept));
  LOCKSTEP_TRY_ASSIGN(made.validation, evaluated(train, parts.validation));
  if (test == nullptr) {
    LOCKSTEP_TRY_ASSIGN(made.test, evaluated(train, parts.test));
  } else {
    LOCKSTEP_TRY_ASSIGN(made.test, evaluated(test, {0, test->size()}));
  }
  return made;
}

Result<Streams> Encoded(const Tokenizer& tokenizer, const std::string& path,
                        std::span<const NamedText> texts) {
  LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> tokens, EncodeTexts(tokenizer, texts));
  return TokenStream::Make(path, std::move(tokens), tokenizer.size());
}

Result<TextTableOptions> TextTableOptionsOf(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  TextTableOptions options{.text = CsvColumnFrom(data.text),
                           .label = CsvColumnFrom(data.label),
                           .positive = data.positive,
                           .threads = CoresOf(recipe)};
  LOCKSTEP_TRY_ASSIGN(options.dialect, DialectOf(data));
  const Objective* objective = ObjectiveNamed(data.task);
  if (objective != nullptr && objective->task == Task::kRegression) {
    return Status::Invalid(
        "data.kind = \"text_table\" tells labels: data.task is classes or binary, not regression");
  }
  options.binary = objective != nullptr && objective->task == Task::kBinary;
  return options;
}

Result<std::shared_ptr<const Dataset>> Tokenized(const TextTable& table,
                                                 const MaybeTokenizer& tokenizer, int64_t context,
                                                 std::vector<std::string>& remarks) {
  LOCKSTEP_TRY_ASSIGN(TextTableData data, TokenizeTable(table, tokenizer, context));
  for (const std::string& remark : table.remarks) remarks.push_back(table.name + ": " + remark);
  const auto rows = static_cast<int64_t>(table.documents.size());
  if (table.empty > 0) {
    remarks.push_back(table.name + ": " + std::to_string(table.empty) + " of " +
                      std::to_string(rows + table.empty) +
                      " documents are empty and left out, the first in line " +
                      std::to_string(table.first_empty_line));
  }
  if (data.cut > 0) {
    remarks.push_back(table.name + ": " + std::to_string(data.cut) + " of " + std::to_string(rows) +
                      " documents have more than data.context = " + std::to_string(context) +
                      " tokens and are cut");
  }
  return std::shared_ptr<const Dataset>(std::move(data.dataset));
}

}  // namespace

KeyLimits TokenizerKinds() { return OneOf(kTokenizers); }

Result<RecipeData> TextData(const Recipe& recipe, MaybeTokenizer tokenizer) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY(KindOfTokenizer(data).status());
  LOCKSTEP_TRY_ASSIGN(std::vector<NamedText> texts, Under("data.path", ReadTexts(data.path)));
  LOCKSTEP_TRY_ASSIGN(tokenizer, TokenizerOf(data, std::move(tokenizer), [&] {
                        std::string all;
                        for (const NamedText& text : texts) all += text.text;
                        return all;
                      }));
  LOCKSTEP_TRY_ASSIGN(const Streams train, Encoded(*tokenizer, data.path, texts));
  texts.clear();
  Streams test;
  if (!data.test_path.empty()) {
    LOCKSTEP_TRY_ASSIGN(texts, Under("data.test_path", ReadTexts(data.test_path)));
    LOCKSTEP_TRY_ASSIGN(test, Under("data.test_path", Encoded(*tokenizer, data.test_path, texts)));
  }
  return Windows(recipe, train, test, tokenizer);
}

Result<RecipeData> TokenData(const Recipe& recipe, MaybeTokenizer tokenizer) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY_ASSIGN(const TokenizerKind kind, KindOfTokenizer(data));
  if (kind == TokenizerKind::kCharacters) {
    return Status::Invalid(
        "data.tokenizer = \"characters\" is of a text; a file of tokens has bytes, bpe, or auto: "
        "the numbers are all there is");
  }
  if (kind != TokenizerKind::kAuto) {
    LOCKSTEP_TRY_ASSIGN(tokenizer, TokenizerOf(data, std::move(tokenizer), [] { return ""; }));
  }
  const int64_t known = tokenizer == nullptr ? 0 : tokenizer->size();
  const int64_t vocabulary = data.vocabulary > 0 ? data.vocabulary : known;
  if (vocabulary == 0) {
    return Status::Invalid(
        "data.kind = \"tokens\" needs data.vocabulary, the number of different tokens (GPT-2: "
        "50257), or a tokenizer");
  }
  if (vocabulary < known) {
    return Status::Invalid("data.vocabulary = " + std::to_string(vocabulary) +
                           ", but the tokenizer has " + std::to_string(known) + " tokens");
  }
  LOCKSTEP_TRY_ASSIGN(const std::optional<bool> header, CsvHeaderOf(data));
  const TokenFileKind file_kind = header == false ? TokenFileKind::kPlain : TokenFileKind::kAuto;
  LOCKSTEP_TRY_ASSIGN(const Streams train,
                      Under("data.path", OpenTokenFile(data.path, vocabulary, file_kind)));
  Streams test;
  if (!data.test_path.empty()) {
    LOCKSTEP_TRY_ASSIGN(
        test, Under("data.test_path", OpenTokenFile(data.test_path, vocabulary, file_kind)));
  }
  return Windows(recipe, train, test, tokenizer);
}

Result<TextTables> TextTableSources(const Recipe& recipe, MaybeTokenizer tokenizer) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY(KindOfTokenizer(data).status());
  LOCKSTEP_TRY_ASSIGN(const TextTableOptions options, TextTableOptionsOf(recipe));
  LOCKSTEP_TRY_ASSIGN(const TextTable train, Under("data.path", LoadTextTable(data.path, options)));
  LOCKSTEP_TRY_ASSIGN(tokenizer, TokenizerOf(data, std::move(tokenizer), [&] {
                        std::string all;
                        for (const std::string& document : train.documents) all += document;
                        return all;
                      }));
  TextTables tables;
  LOCKSTEP_TRY_ASSIGN(tables.train, Tokenized(train, tokenizer, data.context, tables.remarks));
  if (data.test_path.empty()) return tables;
  LOCKSTEP_TRY_ASSIGN(const TextTable test,
                      Under("data.test_path", LoadTextTable(data.test_path, options)));
  if (test.classes != train.classes)
    return Status::Invalid(data.test_path + " has other labels than " + data.path);
  LOCKSTEP_TRY_ASSIGN(tables.test, Tokenized(test, tokenizer, data.context, tables.remarks));
  return tables;
}

Result<std::shared_ptr<const Dataset>> DocumentsToPredict(const Recipe& recipe,
                                                          const DatasetInfo& samples,
                                                          const std::string& path) {
  if (samples.tokenizer == nullptr)
    return Status::Invalid("the model has no tokenizer, it cannot read texts");
  LOCKSTEP_TRY_ASSIGN(TextTableOptions options, TextTableOptionsOf(recipe));
  options.unlabelled = true;
  LOCKSTEP_TRY_ASSIGN(TextTable table, LoadTextTable(path, options));
  table.classes = samples.class_names;
  LOCKSTEP_TRY_ASSIGN(TextTableData data,
                      TokenizeTable(table, samples.tokenizer, samples.x_shape[0]));
  return std::shared_ptr<const Dataset>(std::move(data.dataset));
}

}  // namespace lockstep
