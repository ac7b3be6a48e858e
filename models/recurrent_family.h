// Recurrent networks as recipes name them: model.kind = "recurrent".
#ifndef LOCKSTEP_MODELS_RECURRENT_FAMILY_H_
#define LOCKSTEP_MODELS_RECURRENT_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/layer.h"
#include "models/recipe_choice.h"
#include "models/recurrent_net.h"

namespace lockstep::inline v0_1 {

struct RecurrentFamily {
  static constexpr const char* kKind = "recurrent";
  static constexpr const char* kTitle = "A recurrent network";

  // Defaults are what a recipe that does not name the key gets. Meanings: VisitKeys.
  std::string cell = "lstm";
  int64_t hidden = 128;
  int64_t layers = 1;
  bool bidirectional = false;
  std::string norm = "none";
  double dropout = 0.0;
  int64_t embedding = 0;
  bool tie_head = false;

  static constexpr Choice<ops::RecurrentCell> kCells[] = {{"lstm", ops::RecurrentCell::kLstm},
                                                          {"gru", ops::RecurrentCell::kGru}};
  // Batch norm is among them so that who asks for it is told why there is none.
  static constexpr Choice<RecurrentOptions::Norm> kNorms[] = {
      {"none", RecurrentOptions::Norm::kNone},
      {"layer", RecurrentOptions::Norm::kLayer},
      {"batch", RecurrentOptions::Norm::kBatch}};

  // visit(key, member, limits, meaning) for each of its keys, in the order a reader wants them.
  template <class Self, class Visit>
  static void VisitKeys(Self& m, Visit&& visit) {
    visit("model.cell", m.cell, OneOf(kCells), "what is repeated at each step");
    visit("model.hidden", m.hidden, AtLeast(1), "units of each layer and direction");
    visit("model.layers", m.layers, Between(1, 100), "one above the other");
    visit("model.bidirectional", m.bidirectional, KeyLimits{},
          "each layer reads from both ends; not for language models");
    visit("model.norm", m.norm, OneOf(kNorms),
          "layer: layer norm in the recurrence; batch is refused, with the reason");
    visit("model.dropout", m.dropout, Between(0, 0.999),
          "probability of dropping a number between layers and in front of the head");
    visit("model.embedding", m.embedding, AtLeast(0),
          "tokens: width of a token's vector (0: as model.hidden)");
    visit("model.tie_head", m.tie_head, KeyLimits{},
          "language models: the head's weight is the embedding's");
  }

  // The layers for samples as `samples` describes them: tokens (T) or series (T, C). Targets for
  // each step, as a language model has them, or for the whole. Errors name the key.
  Result<std::unique_ptr<Layer>> Build(const DatasetInfo& samples) const;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECURRENT_FAMILY_H_
