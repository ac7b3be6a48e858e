// Text that a language model goes on with, token by token.
//
//   LOCKSTEP_TRY_ASSIGN(Generator generator, Generator::Make(net, {.context = 1024}));
//   LOCKSTEP_TRY(generator.Start(prompt));
//   for (;;) {
//     LOCKSTEP_TRY_ASSIGN(const std::optional<int32_t> token, generator.Next());
//     if (!token) break;  // generator.ended() says why
//   }
//
// Each token goes through the network once: its operations keep what later tokens need
// (PlanOptions::cache_tokens), so a token's cost does not grow with the text but for attention. The
// scores have the bits that a forward pass over the whole text gives them.
#ifndef LOCKSTEP_ENGINE_TRAIN_GENERATOR_H_
#define LOCKSTEP_ENGINE_TRAIN_GENERATOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/borrowed.h"
#include "engine/base/status.h"
#include "engine/plan/page_memory.h"
#include "engine/plan/program.h"
#include "engine/train/network.h"
#include "engine/train/sampler.h"

namespace lockstep::inline v0_1 {

struct GeneratorOptions {
  SamplerOptions sampling{};
  // The most tokens the model may see at once. A text ends where it would have to see more; or, if
  // it is to slide on, the model forgets all but the newest half of them, which it sees anew as a
  // beginning, and goes on from there.
  int64_t context = 0;
  bool slides = false;
  int32_t end_of_text = -1;  // the token that ends a text, which Next does not give; -1: none
  int64_t chunk = 64;        // tokens of a prompt that are computed together
};

enum class TextEnd { kNot, kEndOfText, kContext };

// Borrows the network, of one input (B, T) of tokens and one output (B, T, vocabulary), whose
// parameters may change between texts. Owns the memory of a text. One thread at a time, as the
// network. Movable.
class Generator {
 public:
  // An error says why the model is no language model, or what it cannot do one token at a time.
  static Result<Generator> Make(Network& network, const GeneratorOptions& options);

  // A new text that begins so: 1 to `context` tokens, each in [0, vocabulary). Where there is a
  // token that ends texts, an empty prompt is that token. An error names the token that is out of
  // range, or how long the prompt is.
  Status Start(std::span<const int32_t> prompt);
  // The next token of the text, or nothing where it has ended. Allocates nothing unless it fails:
  // before a Start that has succeeded, or where the scores are not finite.
  Result<std::optional<int32_t>> Next();

  TextEnd ended() const { return ended_; }
  int64_t tokens() const { return length_; }  // of the text so far, the prompt's included
  int64_t vocabulary() const { return vocabulary_; }
  // For the token behind the last that the network has seen: (vocabulary), until the next call.
  std::span<const float> scores() const;
  // What a text needs beside the network's own memory.
  int64_t bytes() const { return memory_.bytes(); }

 private:
  Generator(Network& network, const GeneratorOptions& options, Sampler sampler)
      : network_(&network), options_(options), sampler_(std::move(sampler)) {}
  static Result<Generator> MakeFor(Network& network, const GeneratorOptions& options);
  Status StartText(std::span<const int32_t> prompt);
  Result<std::optional<int32_t>> NextToken();
  Status See(std::span<const int32_t> tokens);
  Status Run(std::span<const int32_t> tokens);  // at most `chunk`
  Status Slide();

  Borrowed<Network> network_;
  GeneratorOptions options_;
  Sampler sampler_;
  PageMemory memory_;
  std::unique_ptr<Program> program_;
  int64_t vocabulary_ = 0;
  std::vector<int32_t> recent_;  // what the network has seen, the oldest first
  int64_t seen_ = 0;             // how many that are
  int64_t length_ = 0;           // tokens of the text
  bool unseen_ = false;          // the network has not seen its last one yet
  int32_t last_ = 0;
  int64_t last_run_ = 0;  // tokens of the last run
  TextEnd ended_ = TextEnd::kNot;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_GENERATOR_H_
