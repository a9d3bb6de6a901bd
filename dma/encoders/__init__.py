"""Image encoders from local folders, and embeddings of pictures by them."""
from ._attributes import AttributeEmbeddings
from ._embed import COMPARES_PROMPTS, check_images, embed_images, embed_texts, unit_embeddings
from ._encoder import ImageEncoder, load_encoder, pixel_values
from ._folder import check_folder
from ._image_reward import check_reward_model, image_rewards
from ._inception import inception_features, load_inception, write_inception
from ._prompts import SCORES, check_prompts, prompt_scores
from ._published_weights import write_dreamsim, write_image_reward
from ._question import LONGEST_ANSWER, STATES, check_question, question_states

__all__ = [
    "COMPARES_PROMPTS", "LONGEST_ANSWER", "SCORES", "STATES", "AttributeEmbeddings", "ImageEncoder", "check_folder",
    "check_images", "check_prompts", "check_question", "check_reward_model", "embed_images", "embed_texts",
    "image_rewards", "inception_features", "load_encoder", "load_inception", "pixel_values", "prompt_scores",
    "question_states", "unit_embeddings", "write_dreamsim", "write_image_reward", "write_inception",
]
