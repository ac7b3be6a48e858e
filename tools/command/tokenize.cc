#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include "engine/data/text/bpe_files.h"
#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"
#include "engine/data/text/text_file.h"
#include "engine/data/text/token_file.h"
#include "engine/io/file.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {
namespace {

using MaybeTokenizer = std::shared_ptr<const Tokenizer>;

// Of --text, or of all files that are named.
Result<std::vector<NamedText>> Texts(const TokenizeArgs& args) {
  std::vector<NamedText> texts;
  if (args.has_text) texts.push_back({"--text", args.text});
  for (const std::string& input : args.inputs) {
    LOCKSTEP_TRY_ASSIGN(std::vector<NamedText> read, ReadTexts(input));
    for (NamedText& text : read) texts.push_back(std::move(text));
  }
  return texts;
}

Result<MaybeTokenizer> OpenTokenizer(const std::string& given, std::span<const NamedText> texts) {
  std::error_code ignored;
  if (!std::filesystem::exists(given, ignored)) {
    if (given == "bytes") return MakeByteTokenizer();
    if (given == "characters" && !texts.empty()) {
      std::string all;
      for (const NamedText& text : texts) all += text.text;
      return MakeCharacterTokenizer(all);
    }
    if (given == "characters") {
      return Status::Invalid(
          "characters are numbered by a text: to decode, give the model that was trained on it");
    }
  }
  const std::string model = ModelFile(given);
  if (!model.ends_with(".safetensors") || !std::filesystem::exists(model, ignored))
    return ReadBpe(given);
  LOCKSTEP_TRY_ASSIGN(const SavedModel saved, ReadSavedModel(model));
  if (saved.samples.tokenizer != nullptr) return saved.samples.tokenizer;
  return Status::Invalid(model + " has no tokenizer: it was not trained on text");
}

// Numbers with white space or commas between.
Result<std::vector<int32_t>> NumbersIn(std::string_view text) {
  constexpr std::string_view kBetween = " \t\r\n,";
  std::vector<int32_t> numbers;
  for (size_t begin; (begin = text.find_first_not_of(kBetween)) != std::string_view::npos;) {
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    int32_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size())
      return Status::Invalid("--text: " + Quoted(word) + " is no token, which are whole numbers");
    numbers.push_back(number);
    text.remove_prefix(word.size());
  }
  return numbers;
}

Status Print(const std::string& text) {
  (void)Say(text);
  return OutputStatus();
}

Status Decode(const TokenizeArgs& args) {
  LOCKSTEP_TRY_ASSIGN(const MaybeTokenizer tokenizer, OpenTokenizer(args.tokenizer, {}));
  std::string text;
  if (args.has_text) {
    LOCKSTEP_TRY_ASSIGN(std::vector<int32_t> numbers, NumbersIn(args.text));
    LOCKSTEP_TRY_ASSIGN(const std::shared_ptr<const TokenStream> checked,
                        TokenStream::Make("--text", numbers, tokenizer->size()));
    text += tokenizer->Decode(numbers);
  }
  for (const std::string& input : args.inputs) {
    LOCKSTEP_TRY_ASSIGN(const std::shared_ptr<const TokenStream> stream,
                        OpenTokenFile(input, tokenizer->size(),
                                      args.plain ? TokenFileKind::kPlain : TokenFileKind::kAuto));
    std::vector<int32_t> tokens(static_cast<size_t>(stream->size()));
    stream->Copy(0, tokens);
    text += tokenizer->Decode(tokens);
  }
  return args.output.empty() ? Print(text) : WriteFileAtomically(args.output, text);
}

Status Encode(const TokenizeArgs& args) {
  LOCKSTEP_TRY_ASSIGN(const std::vector<NamedText> texts, Texts(args));
  LOCKSTEP_TRY_ASSIGN(const MaybeTokenizer tokenizer, OpenTokenizer(args.tokenizer, texts));
  if (args.end_of_text && tokenizer->end_of_text() < 0) {
    return Status::Invalid("--end-of-text: the tokenizer " + args.tokenizer +
                           " has no token for it");
  }
  std::vector<int32_t> all;
  std::string lines;
  for (const NamedText& text : texts) {
    const size_t before = all.size();
    LOCKSTEP_TRY(tokenizer->Encode(text.text, all).At(text.name));
    if (args.end_of_text) all.push_back(tokenizer->end_of_text());
    if (!args.output.empty()) continue;
    for (size_t i = before; i < all.size(); ++i)
      lines += (i == before ? "" : " ") + std::to_string(all[i]);
    lines += '\n';
  }
  if (args.output.empty()) return Print(lines);
  LOCKSTEP_TRY(WriteTokenFile(args.output, all, tokenizer->size()));
  fmt::print(
      "{} tokens of {} are in {}: data.kind=tokens data.path={} data.vocabulary={} reads "
      "them\n",
      all.size(), tokenizer->size(), args.output, args.output, tokenizer->size());
  return Status::Ok();
}

}  // namespace

Status Tokenize(const TokenizeArgs& args) {
  if (args.inputs.empty() && !args.has_text)
    return Status::Invalid("tokenize needs files, or --text");
  if (!args.decode && args.plain)
    return Status::Invalid("--plain is for --decode: files are written with a header");
  if (!args.decode && !args.output.empty() && !args.output.ends_with(".bin") &&
      !args.output.ends_with(".npy")) {
    return Status::Invalid(args.output + ": tokens are written to NAME.bin or NAME.npy");
  }
  return args.decode ? Decode(args) : Encode(args);
}

}  // namespace lockstep::tools
