/* Adapter */
#include "base/bytes.h"
#include "store/digest.h"

void digest_message(struct str message, struct arena *a, struct digest *out)
{
	*out = (struct digest){ .record = str_copy(a, str_sub(message, 0, 400)) };
}
