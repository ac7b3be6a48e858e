#include <fmt/format.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/data/text/text_file.h"
#include "engine/train/generator.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"
#include "tools/command/interrupts.h"
#include "tools/command/terminal.h"
#include "tools/command/text_stream.h"

namespace lockstep::inline v0_1::tools {
namespace {

// --prompt, --prompt-file, or standard input where that is no terminal.
Result<std::string> PromptOf(const GenerateArgs& args) {
  if (args.has_prompt) return args.prompt;
  if (!args.prompt_file.empty()) return ReadTextFile(args.prompt_file);
  std::string text;
  if (TerminalOf(stdin).is_one) return text;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0;) text.append(buffer, n);
  if (std::ferror(stdin) != 0) return Status::Io("standard input cannot be read");
  return text;
}

Status Print(std::string& text) {
  (void)Say(text);
  text.clear();
  return OutputStatus();
}

}  // namespace

Status Generate(const GenerateArgs& args) {
  const std::string path = ModelFile(args.model);
  LOCKSTEP_TRY_ASSIGN(const SavedModel model, ReadSavedModel(path, args.overrides));
  const std::shared_ptr<const Tokenizer>& tokenizer = model.samples.tokenizer;
  if (model.samples.vocabulary == 0 || model.samples.classes != model.samples.vocabulary ||
      model.samples.target_shape.rank() != 1) {
    return Status::Invalid(path + " is no language model: it was not trained to say what comes " +
                           "next in a text");
  }
  if (tokenizer == nullptr) {
    return Status::Invalid(path + " has no tokenizer: it was trained on tokens alone, so nobody " +
                           "knows what text they stand for");
  }
  LOCKSTEP_TRY_ASSIGN(const std::string text, PromptOf(args));
  std::vector<int32_t> prompt;
  LOCKSTEP_TRY(tokenizer->Encode(text, prompt).At("the prompt"));

  Context ctx({.threads = static_cast<int>(model.recipe.train.threads)});
  Result<Network> network = BuildNetwork(ctx, model, /*batch=*/1);
  if (!network.ok()) return network.status().At(path);
  // A recurrent network keeps one state, however long the text.
  const bool recurrent = std::holds_alternative<RecurrentFamily>(model.recipe.model.family);
  Result<Generator> made = Generator::Make(
      *network,
      {.sampling = {.temperature = args.greedy ? 0.0 : args.temperature,
                    .top_k = args.top_k,
                    .top_p = args.top_p,
                    .repetition_penalty = args.repetition_penalty,
                    .seed = static_cast<uint64_t>(args.seed)},
       .context = recurrent ? std::numeric_limits<int32_t>::max() : model.samples.x_shape[0],
       .slides = !recurrent,
       .end_of_text = tokenizer->end_of_text()});
  if (!made.ok()) return made.status().At(path);
  Generator& generator = *made;

  const CatchInterrupts interrupts;
  LOCKSTEP_TRY(generator.Start(prompt));
  TextStream stream;
  std::string out;
  char last = '\n';
  int64_t count = 0;
  const auto say = [&] {
    if (out.empty()) return Status::Ok();
    last = out.back();
    return Print(out);
  };
  while (count < args.tokens && !CatchInterrupts::Requested()) {
    LOCKSTEP_TRY_ASSIGN(const std::optional<int32_t> token, generator.Next());
    if (!token) break;
    ++count;
    // A network may tell more tokens apart than the tokenizer has.
    if (*token < tokenizer->size()) stream.Add(tokenizer->Bytes(*token), out);
    LOCKSTEP_TRY(say());
  }
  stream.End(out);
  if (!out.empty()) last = out.back();
  if (last != '\n' || count == 0) out += '\n';
  LOCKSTEP_TRY(say());
  if (CatchInterrupts::Requested())
    return Status(Code::kInterrupted, fmt::format("stopped after {} tokens", count));
  return Status::Ok();
}

}  // namespace lockstep::tools
