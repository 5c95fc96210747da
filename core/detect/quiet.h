/* SPDX-License-Identifier: BSD-3-Clause */
/* quiet -- when a threshold has nothing more to say, as all workers can read it
 *
 *   parent: rule 7 has spoken as often as it may about 10.0.0.1 until 12:00:10  --> slot
 *                                                                                    |
 *   worker: rule 7 matches 10.0.0.1 again at 12:00:03  <------ nothing to send ------+
 *
 * The parent decides in the order of the run, and never before all workers are
 * past the place. So a worker that finds a period here is behind that decision
 * in the run, and a match of its own in the period would be kept back: unless so
 * many addresses are counted at once that the parent has had to forget this one
 * meanwhile (tracker.h), as it would by itself, at places that no two runs share.
 *
 * The table is small and forgets: a period that another one took the slot of is
 * not found, and then the parent decides. Nobody takes half of a slot for a whole
 * (base/versioned.h).
 */
#ifndef MB_DETECT_QUIET_H
#define MB_DETECT_QUIET_H

#include <stdbool.h>

#include "detect/tracker.h"

struct mb__quiet;

/* In memory that processes forked later share. NULL: no memory. */
struct mb__quiet *mb__quiet_new(void);
void mb__quiet_free(struct mb__quiet *q);
/* What |key| counts says nothing more until |until|, ns, inclusive. One process writes. */
void mb__quiet_set(struct mb__quiet *q, const struct mb__track_key *key, int64_t until);
/* Whether that is known for the time |now|. */
bool mb__quiet_at(const struct mb__quiet *q, const struct mb__track_key *key, int64_t now);

#endif
