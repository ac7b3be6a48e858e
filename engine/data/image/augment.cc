#include "engine/data/image/augment.h"
